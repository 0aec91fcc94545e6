"""BLEEP's parameters; values and their sources stand in configs/methods/bleep.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..training import TrainingParameters


class BLEEPParameters(TrainingParameters):
    """Defaults are those of the `fast` profile."""

    image_encoder: Literal["frozen", "finetune"] = Field(
        "frozen", description="Frozen features below the projection head, or the backbone trained with it."
    )
    backbone: str = Field("resnet50", description="The network that image_encoder=finetune trains.")
    projection: int = Field(256, ge=1, le=8192, description="Width of both projection heads.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the projection heads.")
    temperature: float = Field(1.0, gt=0, le=1000, description="Divides the logits and the targets' logits.")
    retrieval: Literal["average", "simple", "weighted"] = Field(
        "average",
        description="Mean of the k nearest training spots, the nearest alone, or their mean weighted by "
        "exp(-(d^2 - d0^2 + 1)) of the embeddings before normalisation.",
    )
    k: int = Field(50, ge=1, le=10_000, description="Training spots that a query retrieves, at most all of them.")
    feature_noise: float = Field(
        0.0, ge=0, le=10, description="Standard deviation of noise added to z-scored frozen features in training."
    )
    augment: bool = Field(
        False, description="Eight symmetries of the patch in training; read by image_encoder=finetune."
    )
