"""State dicts of the public repositories as methods of ours: every tensor is placed, or an error names the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MethodError, unknown
from .encoders.registry import card
from .method import Method
from .registry import spec

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, NDArray[Any]]
_PATCH = 224  # pixels, of the two public codes with a convolutional backbone


@dataclass(frozen=True)
class _Layout:
    """A public layout: our names of its tensors, and what their shapes and our method need beside them.

    Attributes:
        names: (pattern, replacement) of full public names, the first that matches counts.
        genes: public tensor and axis that run over the genes.
        settings: parameters that the shapes decide.
        extra: arrays that our method stores beside the network.
    """

    names: tuple[tuple[str, str], ...]
    genes: tuple[str, int]
    settings: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    extra: Callable[[Mapping[str, Tensor]], Arrays]

    def rename(self, name: str) -> str | None:
        for pattern, replacement in self.names:
            if match := re.fullmatch(pattern, name):
                return match.expand(replacement)
        return None


def convert(name: str, source: Path, genes: Path) -> Method:
    """Read a public state dict into our method of the `paper` profile.

    Args:
        name: "stnet" (bryanhe/ST-Net, a torchvision DenseNet-121), "histogene" (maxpmx/HisToGene, the Lightning
            checkpoint of its SpatialTransformer) or "bleep" (bowang-lab/BLEEP, its CLIPModel with a ResNet-50).
        source: safetensors, or torch's format, of which nothing but tensors is read.
        genes: the genes in the order of the outputs, one a line, or a .npy of strings.

    A converted ST-Net normalises with the ImageNet statistics, as its checkpoint does not hold those that the code
    estimates; a converted BLEEP holds no reference spots, so its network embeds, but `predict` has nothing to retrieve.

    Raises:
        ConfigurationError: no such converter.
        DataError: a file that cannot be read, tensors that find no place or leave one empty, another number of genes.
    """
    if name not in _LAYOUTS:
        raise unknown("converter", name, _LAYOUTS)
    if not source.is_file():
        raise DataError(f"Expected a file of weights in {source}, but there is no such file; check the path.")
    from .encoders.weights import read_state_dict

    layout = _LAYOUTS[name]
    state = read_state_dict(source)
    symbols = read_genes(genes)
    head, axis = layout.genes
    if head not in state:
        raise DataError(
            f"Expected a state dict of the public {name} in {source}, but it has no tensor {head}; "
            f"it holds {_some(list(state))}."
        )
    if (outputs := state[head].shape[axis]) != len(symbols):
        raise DataError(
            f"Expected names for the {outputs} genes of {source}, found {len(symbols)} in {genes}; "
            "give the list that it was trained with."
        )
    renamed = {key: layout.rename(key) for key in state}
    if left := [key for key, ours in renamed.items() if ours is None]:
        raise DataError(
            f"Expected the tensors of the public {name} in {source}, found {len(left)} others: {_some(left)}; give the "
            "state dict of its published code."
        )
    arrays = {str(ours): state[key].numpy() for key, ours in renamed.items()}
    method = spec(name, layout.settings(state), "paper").build()
    method.genes = symbols
    try:
        method.restore({**arrays, **layout.extra(state)})
    except (MethodError, DataError) as error:
        raise DataError(f"The tensors of {source} do not fill {name}: {error}") from error
    return method


def read_genes(path: Path) -> tuple[str, ...]:
    """Gene symbols from a text file, one a line, or from a .npy of strings.

    Raises:
        DataError: no such file, no genes, pickled objects, or a gene named twice.
    """
    try:
        if path.suffix == ".npy":
            genes = [str(gene) for gene in np.load(path, allow_pickle=False).ravel()]
        else:
            genes = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise DataError(
            f"Expected gene symbols in {path}, one a line or a .npy of strings, but: {error}; write them as text."
        ) from error
    if not genes:
        raise DataError(f"Expected gene symbols in {path}, found none; write one a line.")
    if len(set(genes)) != len(genes):
        twice = sorted({gene for gene in genes if genes.count(gene) > 1})
        raise DataError(f"Expected each gene once in {path}, found {_some(twice)} twice; remove the repeats.")
    return tuple(genes)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({match[1] for key in state if (match := re.match(r"vit\.transformer\.layers\.(\d+)\.", key))})


def _histogene_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, inputs = state["patch_embedding.weight"].shape
    heads = state["vit.transformer.layers.0.0.fn.to_qkv.weight"].shape[0] // (3 * 64)
    return {
        "dim": dim,
        "patch_size": math.isqrt(inputs // 3),
        "positions": state["x_embed.weight"].shape[0],
        "depth": _depth(state),
        "heads": heads,
        "mlp": state["vit.transformer.layers.0.1.fn.net.0.weight"].shape[0],
    }


def _normalisation(backbone: str) -> Arrays:
    found = card(backbone)
    return {
        "image.mean": np.array(found.mean),
        "image.sd": np.array(found.std),
        "image.patch_size": np.array(_PATCH),
    }


def _bleep_extra(state: Mapping[str, Tensor]) -> Arrays:
    width, genes = state["spot_projection.projection.weight"].shape
    return {
        **_normalisation("resnet50"),
        "reference.embedding": np.zeros((0, width), dtype=np.float32),
        "reference.expression": np.zeros((0, genes), dtype=np.float32),
    }


_LAYOUTS = {
    "stnet": _Layout(
        names=((r"features\.(.+)", r"backbone.features.\1"), (r"classifier\.(weight|bias)", r"classifier.\1")),
        genes=("classifier.weight", 0),
        settings=lambda state: {},
        extra=lambda state: _normalisation("densenet121"),
    ),
    "histogene": _Layout(
        names=(
            (r"patch_embedding\.(weight|bias)", r"embedding.\1"),
            (r"([xy])_embed\.weight", r"\1_embedding.weight"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.norm\.(\w+)", r"blocks.\1.attention_norm.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.fn\.to_qkv\.weight", r"blocks.\1.attention.qkv.weight"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.fn\.to_out\.0\.(\w+)", r"blocks.\1.attention.out.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.1\.norm\.(\w+)", r"blocks.\1.mlp_norm.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.1\.fn\.net\.([03])\.(\w+)", r"blocks.\1.mlp.\2.\3"),
            (r"gene_head\.0\.(\w+)", r"head_norm.\1"),
            (r"gene_head\.1\.(\w+)", r"head.\1"),
        ),
        genes=("gene_head.1.weight", 0),
        settings=_histogene_settings,
        extra=lambda state: {},
    ),
    "bleep": _Layout(
        names=(
            (r"image_encoder\.model\.(.+)", r"image_encoder.\1"),
            (r"((?:image|spot)_projection\.(?:projection|fc|layer_norm)\.(?:weight|bias))", r"\1"),
        ),
        genes=("spot_projection.projection.weight", 1),
        settings=lambda state: {"projection": state["spot_projection.projection.weight"].shape[0]},
        extra=_bleep_extra,
    ),
}
