"""THItoGene's parameters."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ..sections.parameters import SectionParameters

LEAST_PATCH = 44  # pixels; of a smaller patch the convolutions leave nothing


class THItoGeneParameters(SectionParameters):
    """Values and their sources stand in configs/methods/thitogene.yaml; the defaults are those of a direct call."""

    kernels: int = Field(
        4, ge=1, le=64, description="Kernels that the dynamic convolution mixes; read by inputs=pixels."
    )
    primary: int = Field(16, ge=1, le=1024, description="Primary capsules of a spot.")
    primary_length: int = Field(8, ge=1, le=1024, description="Length of each.")
    capsules: int = Field(20, ge=1, le=1024, description="Capsules that they are routed to.")
    capsule_length: int = Field(
        16, ge=1, le=4096, description="Length of each; array x and y are two more of that length."
    )
    depth: int = Field(2, ge=1, le=64, description="Transformer blocks.")
    heads: int = Field(4, ge=1, le=128, description="Attention heads in each.")
    head_dim: int = Field(64, ge=1, le=1024, description="Width of a head.")
    mlp: int = Field(512, ge=8, le=32_768, description="Width of each block's hidden layer.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout in the blocks and of the graph attention.")
    position_scale: float = Field(
        1.0, ge=0, le=10, description="Standard deviation that the position tables start with."
    )
    neighbours: int = Field(4, ge=1, le=1024, description="Nearest spots that a spot attends to, however far.")
    graph_heads: int = Field(4, ge=1, le=128, description="Heads of the first graph attention.")
    graph_dim: int = Field(64, ge=1, le=8192, description="Width of each.")
    graph_out: int = Field(128, ge=1, le=8192, description="Width of the second, which has one head.")
    hidden: int = Field(256, ge=1, le=32_768, description="Width of the layer before the genes.")

    @property
    def width(self) -> int:
        """Of a spot's vector: its capsules and two of its place."""
        return (self.capsules + 2) * self.capsule_length

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """The convolutions leave something of a patch, in as many channels as the capsules have numbers."""
        if self.inputs == "pixels" and self.patch_size < LEAST_PATCH:
            raise ValueError(
                f"expected patch_size of at least {LEAST_PATCH} with inputs=pixels, found {self.patch_size}; set a larger one"
            )
        return self
