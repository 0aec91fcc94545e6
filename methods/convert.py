"""State dicts of the public repositories as methods of ours: every tensor is placed, or an error names the rest."""

from __future__ import annotations

from pathlib import Path

from ..array_files import read_array
from ..errors import ConfigurationError, DataError, MethodError, unknown
from ..text_files import read_text
from .method import Method
from .public_layouts import LAYOUTS
from .registry import spec


def convert(name: str, source: Path, genes: Path) -> Method:
    """Read a public state dict into our method of the `paper` profile.

    Args:
        name: "stnet" (bryanhe/ST-Net, a torchvision DenseNet-121), "histogene" (maxpmx/HisToGene, the Lightning
            checkpoint of its SpatialTransformer), "hist2st" (biomed-AI/Hist2ST, that of its Hist2ST) or "bleep"
            (bowang-lab/BLEEP, its CLIPModel with a ResNet-50).
        source: safetensors, or torch's format, of which nothing but tensors is read.
        genes: the genes in the order of the outputs, one a line, or a .npy of strings.

    A converted ST-Net normalises with the ImageNet statistics, as its checkpoint does not hold those that the code
    estimates; a converted BLEEP holds no reference spots, so its network embeds, but `predict` has nothing to retrieve.

    Raises:
        ConfigurationError: no such converter.
        DataError: a file that cannot be read, tensors that find no place or leave one empty, another number of genes.
    """
    if name not in LAYOUTS:
        raise unknown("converter", name, LAYOUTS)
    if not source.is_file():
        raise DataError(f"Expected a file of weights in {source}, but there is no such file; check the path.")
    from .encoders.weights import read_state_dict

    layout = LAYOUTS[name]
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
            f"Expected the tensors of the public {name} in {source}, found others: {_some(left)}; give the "
            "state dict of its published code."
        )
    arrays = {str(ours): state[key].numpy() for key, ours in renamed.items()}
    try:
        method = spec(name, layout.settings(state), "paper").build()
        method.genes = symbols
        method.restore({**arrays, **layout.extra(state)})
    except KeyError as error:
        raise DataError(
            f"Expected a state dict of the public {name} in {source}, but it has no tensor {error.args[0]}; "
            f"it holds {_some(list(state))}."
        ) from error
    except (MethodError, DataError, ConfigurationError) as error:
        raise DataError(f"The tensors of {source} do not fill {name}: {error}") from error
    return method


def read_genes(path: Path) -> tuple[str, ...]:
    """Gene symbols from a text file, one a line, or from a .npy of strings.

    Raises:
        DataError: no such file, no genes, pickled objects, or a gene named twice.
    """
    what, remedy = "gene symbols", "write them as text, one a line, or as a .npy of strings"
    if path.suffix == ".npy":
        genes = [str(gene) for gene in read_array(path, what, remedy).ravel()]
    else:
        genes = read_text(path, what, remedy).split()
    if not genes:
        raise DataError(f"Expected gene symbols in {path}, found none; write one a line.")
    if len(set(genes)) != len(genes):
        twice = sorted({gene for gene in genes if genes.count(gene) > 1})
        raise DataError(f"Expected each gene once in {path}, found {_some(twice)} twice; remove the repeats.")
    return tuple(genes)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
