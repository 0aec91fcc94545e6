"""A method that keeps a log of all that it is given and of all that it can reach; loaded as a plug-in, in any process.

The log is `spy.jsonl` beside the copy of this file that was loaded: one line a call of `fit`, `predict` or `reveal`.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from qbench.datasets.cohort import SealedSection
from qbench.methods.method import Inputs, Method, Parameters
from qbench.methods.selection import validation_scores

HERE = Path(__file__).parent
CODES = (5000, 10_000)  # counts of the gene CODE; a spot's total over all genes is its code + 20,000
CENTRE = 112
MEASURED = {"Section", "Dataset", "SectionInfo", "CellTask"}  # what leads to counts in the harness's own process


class SpyParameters(Parameters):
    shift: float = Field(0.0, ge=0, le=9, description="Added to the training mean.")
    images: bool = Field(True, description="Whether it reads patches and features.")


class Spy(Method):
    """Predicts the training mean, and writes down what it saw."""

    name = "spy"
    Parameters = SpyParameters

    @classmethod
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("rgb",), patches=True) if parameters.images else Inputs()

    def fit(self, train: Any, validation: Any, context: Any) -> None:
        self.genes = train.genes
        sides = {"train": train, "validation": validation}
        self.log("fit", {name: self.seen(side) for name, side in sides.items()}, train, validation, context)
        self.mean = (train.target.mean(axis=0) + self.parameters.shift).astype(np.float32)
        predicted = np.tile(self.mean, (len(validation), 1))
        context.report(1, validation_scores(predicted, validation.target, validation.boundaries))
        context.selected_epoch = 1

    def predict(self, section: Any) -> Any:
        more = sorted(set(vars(section)) - set(SealedSection.__dataclass_fields__))
        self.log("predict", {"section": self.one(section), "kind": type(section).__name__, "more": more}, section)
        return np.tile(self.mean, (section.n_spots, 1))

    def reveal(self, test: Any) -> None:  # only the harness's own oracles may be shown the test side
        self.log("reveal", {"test": self.seen(test)}, test)

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"]

    def seen(self, side: Any) -> list[dict[str, Any]]:
        rows = {"target": side.target, "library_size": side.library_size}
        if self.parameters.images:
            rows |= {"red": side.features("rgb")[:][:, 0], "centre": side.patches()[:][:, CENTRE, CENTRE]}
        found = []
        for section, start, stop in zip(side.sections, side.boundaries[:-1], side.boundaries[1:], strict=True):
            own = {name: values[start:stop].tolist() for name, values in rows.items()}
            assert np.array_equal(section.target, side.target[start:stop])
            found.append({**self.names(section), **own})
        return found

    def one(self, section: Any) -> dict[str, Any]:
        images = {}
        if self.parameters.images:
            images = {"red": section.features("rgb")[:][:, 0], "centre": section.patches()[:][:, CENTRE, CENTRE]}
        return {**self.names(section), **{name: values.tolist() for name, values in images.items()}}

    def names(self, section: Any) -> dict[str, Any]:
        return {"id": section.id, "patient": section.patient, "spots": section.spots, "genes": section.genes,
                "xy": section.array_xy.tolist(), "mapped": mapped(section)}  # fmt: skip

    def log(self, event: str, values: dict[str, Any], *given: Any) -> None:
        process = {
            "pid": os.getpid(),
            "seed": getattr(given[-1], "seed", None),
            "threads": getattr(given[-1], "threads", None),
            "directory": str(getattr(given[-1], "directory", "")),
            "environment": dict(os.environ),
            "argv": sys.argv,
            "path": sys.path,
            "cwd": str(Path.cwd()),
            "kinds": sorted({type(found).__name__ for found in gc.get_objects()} & MEASURED),
            "task": next((frame.f_locals["task_json"] for frame in frames() if "task_json" in frame.f_locals), ""),
        }
        line = {"event": event, "shift": self.parameters.shift, **values, "reach": reach(given), "process": process}
        with (HERE / "spy.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def frames() -> Iterator[types.FrameType]:
    """The calls that led here, the innermost first."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def mapped(section: Any) -> list[str]:
    """Attributes that are read from a file rather than from memory."""
    return sorted(name for name, value in vars(section).items() if isinstance(value, np.memmap))


def reach(given: Any) -> dict[str, list[Any]]:
    """Codes of spots, reds of images and strings that can be reached from some objects without leaving them."""
    codes: set[int] = set()
    reds: set[int] = set()
    strings: set[str] = set()
    waiting, known = [given], set()
    while waiting:
        found = waiting.pop()
        if id(found) in known or found is None or isinstance(found, type | types.ModuleType | bool | int | float):
            continue
        known.add(id(found))
        if isinstance(found, str):
            strings.add(found)
        elif isinstance(found, np.ndarray):
            codes |= codes_in(found)
            reds |= reds_in(found)
            waiting.append(found.base)
        else:
            waiting += parts_of(found)
    return {"codes": sorted(codes), "reds": sorted(reds), "strings": sorted(s for s in strings if len(s) < 40)}


def parts_of(found: Any) -> list[Any]:
    """What an object holds: elements, attributes, and what a function closes over."""
    if isinstance(found, dict):
        return [*found, *found.values()]
    if isinstance(found, list | tuple | set | frozenset):
        return list(found)
    if isinstance(found, functools.partial):
        return [found.func, found.args, found.keywords]
    if isinstance(found, types.MethodType):
        return [found.__self__, found.__func__]
    if isinstance(found, types.FunctionType):
        return [found.__defaults__, *(cell.cell_contents for cell in found.__closure__ or ())]
    return [getattr(found, "__dict__", None)]


def codes_in(values: np.ndarray) -> set[int]:
    """Codes among counts, log1p counts, and totals."""
    if values.dtype.kind not in "iuf" or values.dtype == np.uint8:
        return set()
    flat = np.asarray(values, dtype=np.float64).ravel()
    low, high = CODES
    found: set[int] = set()
    for counts in (flat, flat - 20_000, np.expm1(np.minimum(flat, 20)), np.expm1(np.minimum(flat, 20)) - 20_000):
        near = np.rint(counts)
        found |= set(near[(abs(counts - near) < 0.02) & (near >= low) & (near < high)].astype(int).tolist())
    return found


def reds_in(values: np.ndarray) -> set[int]:
    """The red of sections among patches (by their centre) and rgb features (by the mean, which is a share of 255)."""
    if values.dtype == np.uint8 and values.ndim == 4:
        return set(values[:, CENTRE, CENTRE, 0].tolist())
    if values.dtype == np.float32 and values.ndim == 2 and values.shape[1] == 6:
        return set(np.rint(values[:, 0] * 255).astype(int).tolist())
    return set()
