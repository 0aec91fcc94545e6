"""The trials of a sweep: what they need is made once, and those that have not ended are run on what Ray has."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold
from ...datasets.hashing import canonical_hash
from ...datasets.leaks import check_panel
from ...errors import ConfigurationError
from ...methods.encoders.registry import EncoderSpec
from ..engine.cohorts import open_cohort
from ..engine.identity import contents_of, read_spots
from ..engine.inputs import prepare
from ..engine.panels import open_panel
from ..engine.plan import Plan
from ..engine.ray_session import RaySession, shared_environment
from ..engine.reporter import Reporter
from ..engine.resolve import ResolvedMethod
from .board import Board
from .state import Sweep, write_times
from .trial import TrialTask, trial_name
from .trial_files import TrialResult, read_result
from .view import FoldView, write_view

MOST_EPOCHS = 100  # of a method that does not say, for the rungs of ASHA


class Searcher:
    """The trials of a sweep: what they need, and running those that have not ended."""

    def __init__(
        self, sweep: Sweep, plan: Plan, resolved: Sequence[ResolvedMethod], board: Board, reporter: Reporter
    ) -> None:
        self._sweep, self._plan, self._resolved, self._board, self._reporter = sweep, plan, resolved, board, reporter
        self._views: dict[str, FoldView] = {}
        self._views_folder = sweep.folder / f"views-{secrets.token_hex(4)}"

    def _folder(self, fold: str, number: int) -> Path:
        return self._sweep.folder / "trials" / trial_name(fold, number)

    def _all(self) -> list[tuple[Fold, int]]:
        return [(fold, number) for fold in self._plan.ground.settled.folds for number in range(len(self._sweep.points))]

    def pending(self) -> bool:
        """Whether any trial of any fold has no stored result yet."""
        return any(read_result(self._folder(fold.name, number)) is None for fold, number in self._all())

    def results(self) -> list[TrialResult]:
        """The results of all trials; one that nobody could bring to an end counts as failed, until the next command."""
        found = []
        for fold, number in self._all():
            settings = self._sweep.points[number]
            lost = TrialResult(
                fold=fold.name,
                number=number,
                settings=settings,
                status="failed",
                message="its worker died again and again",
            )
            found.append(read_result(self._folder(fold.name, number)) or lost)
        return found

    def prepare(self) -> None:
        """Patches, features, panels and targets, made here so that trials need no access to the data."""
        plan, target = self._plan, self._plan.protocol.target
        cache = ArrayCache(plan.cache)
        encoders: dict[str, EncoderSpec] = {
            name: spec for method in self._resolved for name, spec in method.encoders.items()
        }
        images = any(method.inputs.image for method in self._resolved)
        patch = plan.cells[0].task.patch if images else None
        ids = plan.protocol.sections
        views = {"": dict.fromkeys(some for method in self._resolved for some in method.inputs.views)}
        around = [method.inputs.surroundings for method in self._resolved]
        say = self._reporter.preparing
        inputs = prepare(plan.dataset, ids, encoders, patch, cache, say, views, surroundings=around)
        contents = contents_of(read_spots(plan.dataset, ids, cache))
        for fold in plan.ground.settled.folds:
            panel = open_panel(plan.dataset, fold, cache)
            check_panel(fold, panel, contents)
            sides = {
                "train": open_cohort(plan.dataset, fold.train, panel, target, inputs),
                "validation": open_cohort(plan.dataset, fold.validation, panel, target, inputs),
            }
            self._views[fold.name] = write_view(self._views_folder / canonical_hash(fold.name)[:12], sides, inputs)

    def tasks(self, device: str, threads: int) -> list[TrialTask]:
        """A task for each point on each fold, with the fold's inputs and panel; `threads` is of one trial."""
        plan, options = self._plan, self._sweep.options
        first = plan.cells[0].task
        return [
            TrialTask(
                number=number,
                fold=fold.name,
                method=self._resolved[number].spec.label,
                settings=self._sweep.points[number],
                profile=options.profile,
                plugins=options.plugin,
                view=self._views[fold.name],
                backbone=self._resolved[number].backbone_weights,
                seed=first.seed,
                select=options.select,
                max_epochs=options.max_epochs,
                device=device,
                precision=first.precision,
                evaluation=self._resolved[number].evaluation,
                compiled=self._resolved[number].steps == "compiled",
                threads=threads,
                folder=self._folder(fold.name, number),
            )
            for fold, number in self._all()
        ]

    def run(self, session: RaySession) -> None:
        """Run the trials that have not ended on what Ray has."""
        from .search import search

        wanted, folder = self._sweep.sweep, self._sweep.folder
        concurrent = wanted.concurrent or max(1, int(session.cpus // wanted.cpus_per_trial))
        gpus = gpus_per_trial(wanted.gpus_per_trial, session, concurrent)
        # A node with GPUs may serve a command on one without, so where trials hold GPUs they look for themselves.
        device = self._sweep.options.device if gpus else self._plan.cells[0].task.device
        try:
            with self._board:
                took = search(
                    self.tasks(device, max(1, int(wanted.cpus_per_trial))),
                    self._board,
                    shared_environment(),
                    asha=wanted.scheduler == "asha",
                    most_epochs=self._most_epochs(),
                    cpus=wanted.cpus_per_trial,
                    gpus=gpus,
                    concurrent=concurrent,
                )
        finally:
            shutil.rmtree(self._views_folder, ignore_errors=True)
        self._sweep.times += took
        write_times(folder, self._sweep.times)

    def _most_epochs(self) -> int:
        own = max(int(getattr(m.spec.parameters, "epochs", MOST_EPOCHS)) for m in self._resolved)
        limit = self._sweep.options.max_epochs
        return own if limit is None else min(own, limit)


def gpus_per_trial(wanted: str | float, session: RaySession, concurrent: int) -> float:
    """GPUs that a trial asks Ray for: as given, or an equal share where the cluster has any.

    Raises:
        ConfigurationError: more than the cluster has.
    """
    if isinstance(wanted, str):
        return min(1.0, int(100 * session.gpus / concurrent) / 100) if session.gpus else 0.0
    if wanted < 0 or (wanted > 1 and wanted != int(wanted)):
        raise ConfigurationError(f"Expected --gpus-per-trial of 0 to 1, or a whole number, found {wanted:g}.")
    if wanted > session.gpus:
        raise ConfigurationError(
            f"--gpus-per-trial {wanted:g} is more than the {session.gpus:g} GPUs that Ray has here; use a smaller one, or auto."
        )
    return wanted
