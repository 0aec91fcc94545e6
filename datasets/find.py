"""The sections that lie in a folder, by format: what a card lists of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, reading
from ..names import check_name, patient_name
from ..text_files import read_json
from .find_images import first_image, image_of
from .readers.store_files import full_image, is_store, read_store
from .readers.visium_files import BIN, find_samples, prefix_of

SPOTS = ("_spots.csv", "_spots.tsv")
BINNED = ("visium", "spatialdata")  # formats in which --bin chooses
USUAL_BIN = 8.0  # microns; what 10x analyses Visium HD at
_LENGTH = re.compile(r"(?:square_)?0*(\d+(?:\.\d+)?)(?:um|µm|μm)?")
_DOWNLOADED = ("_tissue_image", "_full_image", "_image", "")  # after a sample's name, the image that was aligned first


def parse_bin(text: str) -> float:
    """The edge of a bin in microns, from "8um", "008um", "square_008um" or "8".

    Raises:
        ConfigurationError: no length above 0.
    """
    match = _LENGTH.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigurationError(f"Expected the edge of a bin in microns (--bin 8um), found '{text}'.")
    return float(match[1])


def find_sections(form: str, folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    """The sections of a format in a folder, as a card lists them; none where there is nothing of that format.

    Args:
        form: one of `FORMS`.
        folder: looked through as the format's own tools lay it out.
        bin_um: edge of the bins that are read, in microns; None for the usual one.

    Raises:
        DataError: files that cannot be told apart.
        ConfigurationError: a name that may not be one, bins that are not there.
    """
    return FORMS[form](folder, bin_um)


def _h5ad(folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    sections = []
    for path in sorted(folder.glob("*.h5ad")):
        sections += _sections_of(path, folder)
    return sections


def _sections_of(path: Path, folder: Path) -> list[dict[str, Any]]:
    """One section of an AnnData file, or one of each of its libraries.

    Raises:
        DataError: several libraries, but one image for all of them.
    """
    from .readers.anndata_file import library_rows, open_anndata, read_part
    from .readers.h5ad import parted

    with open_anndata(path) as file:
        obs = read_part(file, "obs")
        libraries = library_rows(obs, file)
    image = image_of(folder, path.stem)
    if not libraries:  # one, or several that nothing parts, which the reader refuses
        return [_section(path.stem, _patient_in(obs), path.name, image=image)]
    named = {name: f"{path.stem}_{name}" for name in libraries}
    images = {name: image_of(folder, named[name]) or image_of(folder, name) for name in libraries}
    if image is not None and not any(images.values()):
        raise DataError(
            f"{parted(path, obs, libraries)}. {image} can be the image of one of them only; call each "
            f"library's own '{next(iter(named.values()))}' and so on."
        )
    return [
        _section(named[name], _patient_in(obs.iloc[rows]), path.name, library=name, image=images[name])
        for name, rows in libraries.items()
    ]


def _stores(folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    from .readers.stores import PSEUDO_SPOT, find_samples_in

    sections = []
    for path in [folder] if is_store(folder) else sorted(filter(is_store, folder.glob("*.zarr"))):
        store = read_store(path)
        samples = list(find_samples_in(store, path))
        for sample in samples:
            alone = len(samples) == 1
            name = path.stem if alone else f"{path.stem}_{sample.name}"
            inside = full_image(store, sample.name)
            file = path.relative_to(folder).as_posix() if path != folder else f"../{path.resolve().name}"
            own = image_of(folder, name)
            image = own if own is not None or inside is None else f"{file}/images/{inside}"
            molecules = sample.transcripts is not None
            edge = bin_um or PSEUDO_SPOT if molecules else _bin_of(list(sample.tables), bin_um, path)
            library = None if alone else sample.name
            sections.append(_section(name, None, file, image=image, library=library, bin=edge))
    return sections


def _visium(folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    places = _of_one_bin(list(find_samples(folder)), bin_um)
    named = [_names_of(place, folder) for place in places]
    times = Counter(name for names in named for name in names)
    sections = []
    for place, names in zip(places, named, strict=True):
        # A user's image says how a section is called; without one, it is what its folder is called.
        images = {name: image_of(folder, name) for name in names if times[name] == 1}
        name = next((name for name in names if images.get(name)), names[0])
        image = images.get(name) or next(filter(None, (_own_image(folder, place, each) for each in names)), None)
        sections.append(_section(name, None, place.relative_to(folder).as_posix(), image=image))
    return sections


def _of_one_bin(places: list[Path], wanted: float | None) -> list[Path]:
    """Of the folders of bins of each Visium HD sample the one of the wanted size; other samples as they are.

    Raises:
        ConfigurationError: there is no such bin, or it is not said which.
    """
    sizes: dict[Path, dict[float, Path]] = {}
    for place in places:
        if match := BIN.fullmatch(place.name):
            sizes.setdefault(place.parent, {})[float(match[1])] = place
    if wanted is not None and places and not sizes:
        raise ConfigurationError(
            "--bin chooses among the bins of Visium HD, but these samples have none; leave it out."
        )
    chosen = [place for place in places if place.parent not in sizes]
    for parent, bins in sizes.items():
        size = _bin_of(list(bins), wanted, parent)
        assert size is not None
        chosen.append(bins[size])
    return sorted(chosen)


def _bin_of(known: list[Any], wanted: float | None, where: Path) -> float | None:
    """The wanted edge among the known ones, without a wish the usual one or the only one; None for spots.

    Raises:
        ConfigurationError: there is no such bin, or it is not said which.
    """
    if known == [None] and wanted is None:
        return None
    edges = sorted(edge for edge in known if edge is not None)
    size = wanted or (edges[0] if len(edges) == 1 else USUAL_BIN)
    if size not in edges:
        found = ", ".join(f"{edge:g}um" for edge in edges) or "spots"
        raise ConfigurationError(f"Expected bins of {size:g} microns in {where}, found {found}; choose with --bin.")
    return size


def _names_of(place: Path, folder: Path) -> list[str]:
    """What a Visium sample may be called, the likeliest first: its folder (outside `outs`), or what its files are called."""
    prefix = prefix_of(place)
    if not place.is_dir():
        return [prefix]
    own = place.resolve()
    inner = [own.name] if BIN.fullmatch(own.name) else []
    while BIN.fullmatch(own.name) or own.name in ("outs", "binned_outputs"):
        own = own.parent
    names = [prefix, own.name] if prefix and own == folder.resolve() else [own.name, prefix]
    return [name for name in dict.fromkeys((*names, *inner)) if name]


def _own_image(folder: Path, place: Path, name: str) -> str | None:
    """The image that a sample's download or mirror holds beside its tables."""
    inner = place if place.is_dir() else place.parent
    while BIN.fullmatch(inner.name) or inner.name == "binned_outputs":
        inner = inner.parent
    for where in dict.fromkeys((inner, inner.parent if inner.name == "outs" and inner != folder else inner, folder)):
        for after in _DOWNLOADED:
            if found := first_image(where, f"{name}{after}"):
                return found.relative_to(folder).as_posix()
    return None


def _hest(folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    for inner in ("st", "adata"):
        if paths := sorted((folder / inner).glob("*.h5ad")):
            return [_section(path.stem, _hest_patient(folder, path.stem), path.stem) for path in paths]
    return []


def _tables(folder: Path, bin_um: float | None) -> list[dict[str, Any]]:
    sections = []
    for spots in sorted(path for ending in SPOTS for path in folder.glob(f"*{ending}")):
        name = spots.name.rpartition("_spots")[0]
        for ending in (".csv", ".tsv", ".csv.gz", ".tsv.gz"):
            if (folder / f"{name}{ending}").is_file():
                sections.append(_section(name, None, f"{name}{ending}", spots=spots.name, image=image_of(folder, name)))
                break
    return sections


FORMS: dict[str, Callable[[Path, float | None], list[dict[str, Any]]]] = {
    # In the order of the search: HEST's and Visium's folders hold .h5ad or .csv files, too.
    "hest": _hest,
    "visium": _visium,
    "spatialdata": _stores,
    "h5ad": _h5ad,
    "tables": _tables,
}


def _section(name: str, patient: str | None, file: str, **more: str | float | None) -> dict[str, Any]:
    return {
        "id": check_name("a section", name),
        "patient": patient,
        "file": file,
        **{key: value for key, value in more.items() if value is not None},
    }


def _patient_in(obs: Any) -> str | None:
    """The patient that every spot of a table names, or None: a spot without a name may be anybody's."""
    named = {patient_name(value) for value in obs["patient"].unique()} if "patient" in obs else set()
    return named.pop() if len(named) == 1 else None


def _hest_patient(folder: Path, name: str) -> str | None:
    """Study and label: one study's "Patient 1" is another person than the next one's."""
    path = folder / "metadata" / f"{name}.json"
    if not path.is_file():
        return None
    what, remedy = "a sample's metadata", "fetch it again"
    with reading(what, path, remedy):
        found = read_json(path, what, remedy)
        study, label = patient_name(found.get("dataset_title")), patient_name(found.get("patient"))
    return f"{study} - {label}" if study and label else None
