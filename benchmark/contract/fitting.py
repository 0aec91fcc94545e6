"""What a method promises of itself and of `fit`."""

from __future__ import annotations

import numpy as np

from ...methods.method import Inputs, Parameters
from .subject import EPOCHS, Broken, Subject, gap


def declares(subject: Subject) -> None:
    """Look at the class attributes, the parameters' base class and what `inputs` returns.

    Raises:
        Broken: one is missing or of another kind.
    """
    cls = subject.spec.cls
    for name, kinds, allowed in (
        ("name", str, None),
        ("version", int, None),
        ("kind", str, ("method", "control")),
        ("seeded", bool, (True, False)),
        ("context", str, ("spot", "section")),
    ):
        value = getattr(cls, name, None)
        if not isinstance(value, kinds) or (allowed is not None and value not in allowed):
            choices = " or ".join(repr(one) for one in allowed) if allowed else f"a {kinds.__name__}"
            raise Broken(f"{name} is {value!r}; set the class attribute {name} to {choices}")
    if not issubclass(cls.Parameters, Parameters):
        raise Broken("Parameters is not a subclass of qbench.methods.method.Parameters; derive it from that")
    if not isinstance(subject.inputs, Inputs):
        raise Broken("inputs() does not return Inputs; return for example Inputs(encoders=('',))")


def fits(subject: Subject) -> str:
    """Fit on the tiny dataset and keep data, method and context on the subject; returns what was read, in words."""
    subject.data = subject.make()
    subject.targets = subject.data.train.target.copy()
    subject.method, subject.context = subject.fitted(subject.data, subject.data.validation)
    return f"read {', '.join(sorted(subject.data.read)) or 'nothing of the images'}"


def stops(subject: Subject) -> None:
    """Hold what the fit reported against `max_epochs`, and the targets against a copy made before it.

    Raises:
        Broken: more epochs than allowed, or targets changed in place.
    """
    reported = len(subject.context.history)
    if reported > EPOCHS:
        raise Broken(
            f"reported {reported} epochs, but context.max_epochs was {EPOCHS}; stop there, and whenever "
            "context.report(...) returns True"
        )
    if not np.array_equal(subject.targets, subject.data.train.target):
        raise Broken("fit changed train.target in place; copy before changing it")


def repeats_with_its_seed(subject: Subject) -> str:
    """Fit twice more, once with the same seed and once with another; returns a remark where `seeded` could be False.

    Raises:
        Broken: one seed gives two predictions, or another seed matters although `seeded` is False.
    """

    def predicted(seed: int) -> np.ndarray:
        method, _ = subject.fitted(subject.make(), subject.data.validation, seed)
        return method.predict(subject.data.test)

    seeded = subject.spec.cls.seeded
    same = predicted(seed=0)
    if not np.array_equal(same, subject.prediction):
        raise Broken(
            f"fitted twice with one seed, predictions differ by up to {gap(same, subject.prediction):.2g}; draw "
            "everything from context.seed (torch.manual_seed, np.random.default_rng)"
        )
    differs = not np.array_equal(predicted(seed=1), subject.prediction)
    if differs and not seeded:
        raise Broken(
            "another seed gives other predictions, but seeded is False, so it would run only once; set seeded = True"
        )
    return "" if differs or not seeded else "another seed gives the same too: set seeded = False to run once"


def fits_alone(subject: Subject) -> None:
    """Fit with None in place of a validation cohort.

    Raises:
        Broken: predictions that are not finite.
    """
    method, _ = subject.fitted(subject.make(), None)
    if not np.isfinite(method.predict(subject.data.test)).all():
        raise Broken(
            "fitted without validation, predictions are not finite; keep the last state when validation is None"
        )
