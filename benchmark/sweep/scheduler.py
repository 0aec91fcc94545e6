"""Which trials are stopped early: ASHA, each fold on its own.

Imported only once Ray is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from typing_extensions import override

from .trial import TrialTask

REDUCTION = 3  # ASHA keeps the best third at each rung


class Here:
    """Something of this process alone; Tune writes copies of what it is given to disk, which need none of it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[type[Here], tuple[None]]:
        return Here, (None,)


class PerFold(FIFOScheduler):
    """First come, first served; with `asha` weak trials are stopped, each held against those of its own fold alone.

    That is after a ninth and after a third of the epochs: a trial that trains on from there comes to its own end.
    """

    def __init__(
        self, tasks: Sequence[TrialTask], asha: bool, most_epochs: int, on_stop: Callable[[TrialTask], None]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tasks, self._on_stop = tasks, Here(on_stop)
        first = max(1, most_epochs // REDUCTION**2)
        self._last_rung = min(first * REDUCTION, most_epochs - 1)  # ASHA has more rungs, up to the last epoch
        self._by_fold: dict[str, AsyncHyperBandScheduler] = {}
        for fold in dict.fromkeys(task.fold for task in tasks) if asha else ():
            self._by_fold[fold] = AsyncHyperBandScheduler(
                time_attr="epoch",
                metric="figure",
                mode="min",
                max_t=most_epochs + 1,  # the last epoch is the trial's own end
                grace_period=first,
                reduction_factor=REDUCTION,
            )

    def _of(self, trial: Any) -> AsyncHyperBandScheduler | None:
        return self._by_fold.get(self._tasks[trial.config["trial"]].fold)

    @override
    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if (scheduler := self._of(trial)) is not None:
            scheduler.on_trial_add(tune_controller, trial)

    @override
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        scheduler = self._of(trial)
        if scheduler is None or result.get("figure") is None or result.get("ended") or "problem" in result:
            return str(TrialScheduler.CONTINUE)
        if result["epoch"] > self._last_rung:
            return str(TrialScheduler.CONTINUE)
        decision = str(scheduler.on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP:
            self._on_stop.value(self._tasks[trial.config["trial"]])
        return decision

    @override
    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if (scheduler := self._of(trial)) is not None and result.get("figure") is not None:
            scheduler.on_trial_complete(tune_controller, trial, result)
