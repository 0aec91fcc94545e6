"""`qbench check`: does a method keep its contract? A tick or a cross for each promise, with the fix, in under a "
"minute."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort
from ...errors import ConfigurationError
from ...methods.method import FitContext, Inputs, Method, Parameters
from ...methods.registry import MethodSpec
from .tiny import TinyData, make_tiny, part_of

EPOCHS = 12
CLOSE = 2e-4  # predictions that may differ by summation order alone
MINUTE = 60.0
_DATA = (".h5ad", ".tsv", ".csv", ".gz", ".parquet", ".h5", ".npz")


@dataclass(frozen=True)
class CheckResult:
    """One promise: kept, broken, or not tried because an earlier one was broken; `detail` holds the fix."""

    promise: str
    status: Literal["kept", "broken", "not tried"]
    detail: str = ""


class Broken(Exception):
    """What was found, and the fix."""


def check_method(spec: MethodSpec, progress: Callable[[str, int, int], None] | None = None) -> list[CheckResult]:
    """Run the contract test on a tiny dataset; a method's own exceptions become crosses.

    Raises:
        ConfigurationError: an oracle, which has another contract.
    """
    if spec.cls.kind == "oracle":
        raise ConfigurationError(
            f"{spec.name} is an oracle, which is shown the test counts on purpose; check methods and controls."
        )
    checks = _Checks(spec)
    results: list[CheckResult] = []
    stopped = False
    for i, (promise, needed, check) in enumerate(checks.all()):
        if progress is not None:
            progress(promise, i, len(checks.all()))
        if stopped:
            results.append(CheckResult(promise, "not tried"))
            continue
        try:
            detail = check() or ""
            results.append(CheckResult(promise, "kept", detail))
        except Broken as broken:
            results.append(CheckResult(promise, "broken", str(broken)))
            stopped = needed
        except Exception as error:  # noqa: BLE001 - whatever an author's code raises is what this test is for
            results.append(CheckResult(promise, "broken", _raised(error)))
            stopped = needed
    return results


class _Checks:
    """The promises in order, with what later ones take from earlier ones."""

    def __init__(self, spec: MethodSpec) -> None:
        self._spec = spec
        self._started = time.monotonic()
        self._data: TinyData
        self._method: Method
        self._context: FitContext
        self._prediction: NDArray[np.float32]

    def all(self) -> list[tuple[str, bool, Callable[[], str | None]]]:
        """(promise, whether the rest depends on it, the check)."""
        section = self._spec.cls.context == "section"
        return [
            ("declares itself: name, version, kind, context, parameters, inputs", True, self._declares),
            ("fit runs, reads only what inputs() declares, and sets self.genes", True, self._fits),
            ("fit stops at max_epochs, and leaves the targets as they were", False, self._stops),
            ("predict gives float32 (spots, genes), all finite", True, self._predicts),
            ("columns follow the order of the panel", False, self._orders),
            ("dropout and the like are off: predicting twice gives the same", False, self._repeats),
            (
                "the order of the spots does not matter"
                if section
                else "each spot is predicted on its own, whatever the batch",
                False,
                self._permutes if section else self._batches,
            ),
            ("the same seed gives the same model", False, self._seeds),
            ("save and load give the same predictions, without pickles", False, self._saves),
            ("predictions depend on inputs alone: no names, no files, no test expression", False, self._is_blind),
            ("bare glass and a single spot are predicted", False, self._survives),
            ("fit works without a validation cohort", False, self._fits_alone),
            ("all of this within a minute", False, self._is_quick),
        ]

    def _declares(self) -> None:
        cls = self._spec.cls
        for name, kinds, allowed in (
            ("name", str, None),
            ("version", int, None),
            ("kind", str, ("method", "control")),
            ("seeded", bool, (True, False)),
            ("context", str, ("spot", "section")),
        ):
            value = getattr(cls, name, None)
            if not isinstance(value, kinds) or (allowed is not None and value not in allowed):
                raise Broken(f"{name} is {value!r}; set the class attribute {name} to {_choices(kinds, allowed)}")
        if not issubclass(cls.Parameters, Parameters):
            raise Broken("Parameters is not a subclass of qbench.methods.method.Parameters; derive it from that")
        if not isinstance(cls.inputs(self._spec.parameters), Inputs):
            raise Broken("inputs() does not return Inputs; return for example Inputs(encoders=('',))")

    def _fits(self) -> str:
        self._data = self._make()
        self._before = self._data.train.target.copy()
        self._method, self._context = self._fit(self._data, self._data.validation)
        genes = self._data.train.genes
        if tuple(self._method.genes) != genes:
            raise Broken("self.genes is not the cohort's genes after fit; set self.genes = train.genes there")
        return f"read {', '.join(sorted(self._data.store.read)) or 'nothing of the images'}"

    def _stops(self) -> None:
        if len(self._context.history) > EPOCHS:
            raise Broken(
                f"reported {len(self._context.history)} epochs, but context.max_epochs was {EPOCHS}; stop there, "
                "and whenever "
                "context.report(...) returns True"
            )
        if not np.array_equal(self._before, self._data.train.target):
            raise Broken("fit changed train.target in place; copy before changing it")

    def _predicts(self) -> None:
        values = self._method.predict(self._data.test)
        due = (self._data.test.n_spots, len(self._data.train.genes))
        if not isinstance(values, np.ndarray) or values.shape != due:
            found = getattr(values, "shape", type(values).__name__)
            raise Broken(
                f"expected an array of shape {due} (spots, genes), found {found}; return one row per spot of the "
                "section"
            )
        if values.dtype != np.float32:
            raise Broken(f"expected float32, found {values.dtype}; end with .astype(np.float32)")
        if not np.isfinite(values).all():
            raise Broken(
                f"{int((~np.isfinite(values)).sum())} values are not finite; look for divisions by zero and "
                "logarithms of 0"
            )
        self._prediction = values.copy()

    def _orders(self) -> None:
        found = self._prediction.mean(axis=0, dtype=np.float64)
        due = self._before.mean(axis=0, dtype=np.float64)
        if np.std(found) == 0 or np.corrcoef(found, due)[0, 1] < 0.5:
            raise Broken(
                "mean predictions per gene do not follow the training means, which lie far apart; either the "
                "columns are in another "
                f"order than train.genes, or nothing was learned in {EPOCHS} epochs: start the last bias at "
                "train.target.mean(axis=0)"
            )

    def _repeats(self) -> None:
        again = self._method.predict(self._data.test)
        if not np.array_equal(again, self._prediction):
            raise Broken(
                f"two predictions differ by up to {_gap(again, self._prediction):.2g}; call network.eval() and draw "
                "nothing at random "
                "in predict"
            )

    def _batches(self) -> None:
        rows = np.array([7, 0, 13])
        part = self._method.predict(part_of(self._data.test, rows))
        if _gap(part, self._prediction[rows]) > CLOSE:
            raise Broken(
                f"three spots alone differ by {_gap(part, self._prediction[rows]):.2g} from the same three among "
                "all; do not "
                "normalise over the batch in predict, or declare context = 'section'"
            )

    def _permutes(self) -> None:
        rows = np.random.default_rng(0).permutation(self._data.test.n_spots)
        shuffled = self._method.predict(part_of(self._data.test, rows))
        if _gap(shuffled, self._prediction[rows]) > CLOSE:
            raise Broken(
                "spots in another order are predicted otherwise (by up to "
                f"{_gap(shuffled, self._prediction[rows]):.2g}); use "
                "section.array_xy for places, never the row number"
            )

    def _seeds(self) -> str:
        same = self._fit(self._make(), self._data.validation)[0].predict(self._data.test)
        if not np.array_equal(same, self._prediction):
            raise Broken(
                f"fitted twice with one seed, predictions differ by up to {_gap(same, self._prediction):.2g}; draw "
                "everything from "
                "context.seed (torch.manual_seed, np.random.default_rng)"
            )
        other = self._fit(self._make(), self._data.validation, seed=1)[0].predict(self._data.test)
        differs = not np.array_equal(other, self._prediction)
        if differs and not self._spec.cls.seeded:
            raise Broken(
                "another seed gives other predictions, but seeded is False, so it would run only once; set seeded = "
                "True"
            )
        return (
            ""
            if differs or not self._spec.cls.seeded
            else "another seed gives the same too: set seeded = False to run once"
        )

    def _saves(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            self._method.save(path)
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                if file.suffix not in (".json", ".safetensors"):
                    raise Broken(
                        f"save writes {file.name}; keep arrays in state() and restore(), which are stored as "
                        "safetensors, and "
                        "nothing is ever unpickled"
                    )
                if file.suffix == ".json":
                    json.loads(file.read_text(encoding="utf-8"))
            loaded = type(self._method).load(path)
        if tuple(loaded.genes) != tuple(self._method.genes):
            raise Broken("a loaded model has other genes; leave them to Method.save and Method.load")
        again = loaded.predict(self._data.test)
        if _gap(again, self._prediction) > CLOSE:
            raise Broken(
                f"a loaded model differs by up to {_gap(again, self._prediction):.2g}; return everything that "
                "predict needs from "
                "state() and set it in restore()"
            )

    def _is_blind(self) -> None:
        test = self._data.test
        store = self._data.store
        store.held["a1 again"] = store.held[test.id]
        for disguise in (
            replace(test, id="a1 again", patient="A"),
            replace(test, id="a1 again", patient="nobody", spots=tuple(f"spot{i}" for i in range(test.n_spots))),
        ):
            with _files_read() as opened:
                found = self._method.predict(disguise)
            if opened:
                raise Broken(
                    f"predict read {Path(opened[0]).name}; all that it may see is the section that it is given"
                )
            if _gap(found, self._prediction) > CLOSE:
                raise Broken(
                    "the same spots under another section, patient or spot name are predicted otherwise; predict from "
                    "section.features(), patches() and coordinates alone"
                )

    def _survives(self) -> None:
        store = self._data.store
        store.held["glass"] = np.full_like(store.held[self._data.test.id][:1], 245)
        one = part_of(self._data.test, np.array([0]))
        for section in (one, replace(one, id="glass")):
            values = self._method.predict(section)
            if values.shape != (1, len(self._data.train.genes)) or not np.isfinite(values).all():
                raise Broken(
                    "a section of one spot, or of bare glass, gives no finite row; guard divisions by a spread or "
                    "norm of 0"
                )

    def _fits_alone(self) -> None:
        method, _ = self._fit(self._make(), None)
        if not np.isfinite(method.predict(self._data.test)).all():
            raise Broken(
                "fitted without validation, predictions are not finite; keep the last state when validation is None"
            )

    def _is_quick(self) -> str:
        seconds = time.monotonic() - self._started
        if seconds > MINUTE:
            raise Broken(f"took {seconds:.0f} s for 80 spots and {EPOCHS} epochs; look at what fit does once per spot")
        return f"{seconds:.1f} s"

    def _make(self) -> TinyData:
        return make_tiny(self._spec.cls.inputs(self._spec.parameters))

    def _fit(self, data: TinyData, validation: Cohort | None, seed: int = 0) -> tuple[Method, FitContext]:
        inputs = self._spec.cls.inputs(self._spec.parameters)
        with tempfile.TemporaryDirectory() as folder:
            context = FitContext(
                seed=seed,
                directory=Path(folder),
                max_epochs=EPOCHS,
                backbone="random" if inputs.backbone is not None else None,
            )
            method = self._spec.build()
            method.fit(data.train, validation, context)
        return method, context


@contextmanager
def _files_read() -> Iterator[list[str]]:
    """Names of data files that are opened meanwhile, outside installed packages."""
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | bytes):
            name = arguments[0].decode(errors="replace") if isinstance(arguments[0], bytes) else arguments[0]
            if name.lower().endswith(_DATA) and "site-packages" not in name:
                opened.append(name)

    sys.addaudithook(hook)  # cannot be taken away again, so it is told to look elsewhere
    try:
        yield opened
    finally:
        watching = False


def _gap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Largest difference, relative to the size of the values where they are above 1."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float("inf") if a.shape != b.shape else float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0.0))


def _choices(kind: type, allowed: tuple[object, ...] | None) -> str:
    return " or ".join(repr(value) for value in allowed) if allowed else f"a {kind.__name__}"


def _raised(error: Exception) -> str:
    """The exception, and where in the author's code it arose."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename)
        if name.parent.name != "benchmark":
            place = f" ({name.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    text = str(error).strip().splitlines()
    return f"raised {type(error).__name__}: {text[0] if text else 'without a message'}{place}"
