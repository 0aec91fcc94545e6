"""A training step asks nothing of the device that would have the host wait for it; held on the CPU by the operators it calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from qbench.methods import registry, training
from qbench.methods.method import FitContext
from torch.utils._python_dispatch import TorchDispatchMode

from ..support.method_cohorts import linear_cohort

# What reads a value back, or makes a result whose size hangs on values.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero")
METHODS = ("bleep", "histogene", "mlp", "qca", "stnet")


class Watch(TorchDispatchMode):
    """Refuses operators that would wait for a GPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the operator, then call it."""
        name = function.overloadpacket.__name__
        masks = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        assert name not in WAITING, f"{name} waits"
        assert not masks, "picking by a mask waits"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_never_waits_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, watched = training._epoch, []

    def run(*args: Any, **kwargs: Any) -> Any:
        with Watch():
            found = epoch(*args, **kwargs)
        watched.append(found)
        return found

    monkeypatch.setattr(training, "_epoch", run)
    train = linear_cohort(0, {"A1": 24, "A2": 20})
    registry.spec(name).build().fit(train, None, FitContext(max_epochs=1))
    assert len(watched) == 1


def test_the_watch_sees_what_waits() -> None:
    x = torch.ones(3)
    with Watch():
        for waits in (lambda: float(x.sum()), lambda: x[x > 0], x.unique, x.nonzero):
            with pytest.raises(AssertionError, match="waits"):
                waits()
