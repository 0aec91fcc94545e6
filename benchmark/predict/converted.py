"""Weights of a public repository as a model's folder, which `qbench predict` and `load_method` read like a fitted one."""

from __future__ import annotations

from pathlib import Path

from ...datasets.scale import LEAST, MOST
from ...errors import ConfigurationError
from ...files import plain_sha256
from ...leaderboard.record import PatchRecord
from ...methods.convert import convert
from ...methods.registry import spec
from ...version import __version__
from ..engine.plan import PATCH_SIZE
from .model import FitRecord, PanelRecord, check_place, write_model


def convert_model(name: str, source: Path, genes: Path, to: Path, microns_per_pixel: float | None = None) -> FitRecord:
    """Write the folder of a model from a public state dict; returns its record.

    Args:
        name: whose state dict it is: "stnet", "histogene" or "bleep".
        source: the file of the state dict.
        genes: file of the genes in the order of the outputs; see `methods.convert.convert`.
        to: the model's folder.
        microns_per_pixel: of the images that it was trained on; None where it is not known.

    Raises:
        ConfigurationError: no such converter, other files in the way, a scale that is none.
        DataError: a file that cannot be read, holds more than tensors, or does not fit.
    """
    if microns_per_pixel is not None and not LEAST <= microns_per_pixel <= MOST:
        raise ConfigurationError(
            f"Expected --microns-per-pixel of {LEAST:g} to {MOST:g}, found {microns_per_pixel:g}; give that of the images."
        )
    check_place(to)
    method = convert(name, source, genes)
    own = spec(name, method.parameters.model_dump(mode="json"), "paper")
    parameters = own.parameters.model_dump(mode="json")
    record = FitRecord(
        qbench=__version__,
        method=own.label,
        origin=own.origin,
        profile=own.profile,
        target="as trained",
        dataset="not stated",
        simulated=False,
        train={},
        validation={},
        rule=f"not stated: converted from {source.name}",
        panel=PanelRecord(genes=method.genes, n_ranked=len(method.genes), hvg=(), heg=(), markers={}),
        patch=PatchRecord(size=PATCH_SIZE),
        native_microns=() if microns_per_pixel is None else (microns_per_pixel,) * 3,
        encoders={},
        fitted={"parameters": parameters, "warnings": []},
        identity={
            "method": own.name,
            "version": own.cls.version,
            "parameters": parameters,
            "converted": plain_sha256(source),
            "genes": list(method.genes),
        },
    )
    write_model(to, record, method)
    return record
