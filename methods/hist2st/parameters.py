"""Hist2ST's parameters."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ..sections.parameters import SectionParameters

STRIDE = 7  # of the convolution that embeds a patch
LEAST_CHANNELS = 8  # as many channels as leave one after the last convolution


class Hist2STParameters(SectionParameters):
    """Values and their sources stand in configs/methods/hist2st.yaml; the defaults are those of a direct call."""

    dim: int = Field(256, ge=4, le=8192, description="Width of a spot's vector.")
    channels: int = Field(
        32, ge=8, le=1024, description="Channels of the convolutions over a patch; read by inputs=pixels."
    )
    mixers: int = Field(2, ge=0, le=32, description="ConvMixer blocks; read by inputs=pixels.")
    mixer_kernel: int = Field(5, ge=1, le=31, description="Edge of their depth-wise kernels; read by inputs=pixels.")
    depth: int = Field(4, ge=1, le=64, description="Transformer blocks.")
    heads: int = Field(4, ge=1, le=128, description="Attention heads in each.")
    head_dim: int = Field(64, ge=1, le=1024, description="Width of a head.")
    mlp: int = Field(256, ge=8, le=32_768, description="Width of each block's hidden layer.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of the embedded patch and in the blocks.")
    position_scale: float = Field(
        1.0, ge=0, le=10, description="Standard deviation that the position tables start with."
    )
    neighbours: int = Field(4, ge=1, le=1024, description="Nearest spots that a spot's graph layer reads.")
    within: float = Field(2.0, gt=0, description="Largest distance of a neighbour, in pitches of the array.")
    graph_layers: int = Field(4, ge=1, le=64, description="Graph layers, whose outputs are the LSTM's sequence.")
    lstm_layers: int = Field(2, ge=1, le=16, description="Layers of the LSTM.")
    zinb: float = Field(0.25, ge=0, description="Weight of the counts' likelihood; 0 leaves its heads out.")
    bake: int = Field(0, ge=0, le=64, description="Augmented views of a section for self-distillation; 0 for none.")
    distillation: float = Field(0.5, gt=0, description="Weight of self-distillation; read with bake above 0.")
    decay: float = Field(1.0, gt=0, le=1, description="Factor of the learning rate after every decay_every epochs.")
    decay_every: int = Field(
        50, ge=1, le=100_000, description="Epochs between two falls of the learning rate; without effect at decay 1."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """The patch fills the vector exactly, and views need pixels."""
        if self.inputs == "features":
            if self.bake:
                raise ValueError(
                    f"expected bake=0 with inputs=features, which cannot be augmented, found {self.bake}; set inputs=pixels"
                )
            return self
        if self.channels % LEAST_CHANNELS or not self.mixer_kernel % 2:
            raise ValueError(
                f"expected channels in steps of {LEAST_CHANNELS} and an odd mixer_kernel, found {self.channels} and "
                f"{self.mixer_kernel}"
            )
        due = self.channels // LEAST_CHANNELS * (self.patch_size // STRIDE) ** 2
        if self.dim != due:
            raise ValueError(
                f"expected dim={due}, which is what patches of {self.patch_size} px and {self.channels} channels give, "
                f"found {self.dim}; set dim, channels or patch_size"
            )
        return self
