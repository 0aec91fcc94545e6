"""`qbench check`: does a method keep its contract? A tick or a cross for each promise, with the fix, in under a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ...errors import ConfigurationError, MethodError
from ...methods.registry import MethodSpec
from . import blindness, fitting, predicting, saving
from .subject import EPOCHS, Broken, Subject

MINUTE = 60.0
_HARNESS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class CheckResult:
    """One promise: kept, broken, or not tried because an earlier one was broken; `detail` holds the fix."""

    promise: str
    status: Literal["kept", "broken", "not tried"]
    detail: str = ""


class Promise(NamedTuple):
    """A promise in words, whether the rest depends on it, and its check, which raises `Broken` or returns a remark."""

    words: str
    needed: bool
    check: Callable[[Subject], str | None]


def promises(context: Literal["spot", "section"]) -> tuple[Promise, ...]:
    """All promises, in the order in which they are tried."""
    return (
        Promise("declares itself: name, version, kind, context, parameters, inputs", True, fitting.declares),
        Promise("fit runs, reads only what inputs() declares, and sets self.genes", True, fitting.fits),
        Promise("fit stops at max_epochs, and leaves the targets as they were", False, fitting.stops),
        Promise("predict gives float32 (spots, genes), all finite", True, predicting.predicts),
        Promise("columns follow the order of the panel", False, predicting.orders),
        Promise("dropout and the like are off: predicting twice gives the same", False, predicting.repeats),
        Promise("the order of the spots does not matter", False, predicting.permutes)
        if context == "section"
        else Promise("each spot is predicted on its own, whatever the batch", False, predicting.batches),
        Promise("the same seed gives the same model", False, fitting.repeats_with_its_seed),
        Promise("save and load give the same predictions, without pickles", False, saving.saves),
        Promise(
            "predictions depend on inputs alone: no names, no files, no test expression", False, blindness.is_blind
        ),
        Promise("bare glass and a single spot are predicted", False, predicting.survives),
        Promise("fit works without a validation cohort", False, fitting.fits_alone),
        Promise("all of this within a minute", False, _is_quick),
    )


def check_method(spec: MethodSpec, progress: Callable[[str, int, int], None] | None = None) -> list[CheckResult]:
    """Run the contract test on a tiny dataset; a method's own exceptions become crosses.

    Raises:
        ConfigurationError: an oracle, which has another contract.
    """
    if spec.cls.kind == "oracle":
        raise ConfigurationError(
            f"{spec.name} is an oracle, which is shown the test counts on purpose; check methods and controls."
        )
    subject = Subject(spec)
    results: list[CheckResult] = []
    stopped = False
    due = promises(spec.cls.context)
    for i, promise in enumerate(due):
        if progress is not None:
            progress(promise.words, i, len(due))
        if stopped:
            results.append(CheckResult(promise.words, "not tried"))
            continue
        try:
            results.append(CheckResult(promise.words, "kept", promise.check(subject) or ""))
            continue
        except Broken as broken:
            detail = str(broken)
        except MethodError as error:  # what stops a cell too, in a sentence of its own
            detail = str(error).removesuffix(".")
        except Exception as error:  # noqa: BLE001 - whatever an author's code raises is what this test is for
            detail = _raised(error)
        results.append(CheckResult(promise.words, "broken", detail))
        stopped = promise.needed
    return results


def _is_quick(subject: Subject) -> str:
    seconds = time.monotonic() - subject.started
    if seconds > MINUTE:
        raise Broken(f"took {seconds:.0f} s for 80 spots and {EPOCHS} epochs; look at what fit does once per spot")
    return f"{seconds:.1f} s"


def _raised(error: Exception) -> str:
    """The exception, and where in the author's code it arose."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if _HARNESS not in file.resolve().parents:
            place = f" ({file.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    text = str(error).strip().splitlines()
    return f"raised {type(error).__name__}: {text[0] if text else 'without a message'}{place}"
