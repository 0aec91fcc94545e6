"""`qbench sweep`: search inside every fold, then train the chosen configuration of each and score it on its test side."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold
from ...datasets.hashing import canonical_hash
from ...datasets.leaks import check_panel
from ...errors import ConfigurationError
from ...methods.encoders.registry import EncoderSpec
from ...methods.registry import MethodSpec, parse
from ...names import path_part
from ..engine.cohorts import open_cohort
from ..engine.identity import contents_of, read_spots
from ..engine.inputs import prepare
from ..engine.panels import open_panel
from ..engine.plan import Plan, available_cores, make_plan
from ..engine.ray_session import RaySession, ray_session, shared_environment
from ..engine.reporter import Reporter
from ..engine.resolve import ResolvedMethod
from ..engine.run import execute
from ..plugins import load_plugins
from ..settings import RunSettings, SweepSettings
from .board import Board, Line
from .final import choose, final_plan
from .folder import VERSION, sweep_folder
from .space import Space, point, read_space
from .state import Drawn, Sweep, read_times, write_times
from .trial import TrialResult, TrialTask, read_result, trial_name
from .view import FoldView, write_view

SAMPLES = 8
MOST_EPOCHS = 100  # of a method that does not say, for the rungs of ASHA


def run_sweep(
    method: str,
    options: RunSettings,
    sweep: SweepSettings,
    board_console: Any,
    reporter: Reporter,
    drawn: Drawn | None = None,
    **shown: bool,
) -> Sweep:
    """Search, choose, train and score; a second call with the same arguments reads what the first has done.

    `drawn` takes the place of the method's space and of a sample of it.

    Raises:
        ConfigurationError: a space that does not fit, another sweep in the way, more GPUs than there are, no cluster.
        QbenchError: a full disk, or a fold in which no trial came to an end.
    """
    load_plugins(options.plugin)
    base = parse(method, options.profile)
    space = drawn.space if drawn else read_space(base, sweep.space)
    if sweep.search == "grid" and sweep.samples is not None:
        raise ConfigurationError("A grid runs all its points; leave out --samples, or use --search random.")
    seed = options.seeds[0]
    if drawn:
        points = drawn.points
    else:
        points = space.grid(base) if sweep.search == "grid" else space.samples(sweep.samples or SAMPLES, seed, base)
    plan = make_plan(options.model_copy(update={"methods": (base.label,)}))
    own = plan.methods[0]
    resolved = [plan.ground.resolve(point(base, settings).label) for settings in points]
    identity = sweep_identity(base, space, resolved, sweep, plan)
    start = f"{path_part(base.name)}-{path_part(plan.protocol.dataset)}-{options.profile}"
    if drawn:
        start += f"-{drawn.name}"
    with sweep_folder(options.out, start, identity, sweep.new) as folder:
        for note in plan.notes:
            reporter.note(note)
        found = Sweep(folder, base, space, options, sweep, canonical_hash(identity), (), points, [])
        found.folds = tuple(fold.name for fold in plan.ground.settled.folds)
        found.times = read_times(folder)
        session_cpus = (
            sweep.concurrent or max(1, int(available_cores() // sweep.cpus_per_trial))
        ) * sweep.cpus_per_trial
        search = Searcher(found, plan, resolved, Board(board_console, _lines(found), options.select, **shown), reporter)
        with contextlib.ExitStack() as stack:
            if search.pending():
                search.prepare()
                before = time.monotonic()
                cpus = None if options.ray_address else max(1, round(session_cpus))
                session = stack.enter_context(ray_session(options.ray_address, cpus))
                found.times.ray += time.monotonic() - before
                search.run(session)
            found.results = search.results()
            found.chosen = choose(found)
            workers = None if options.ray_address else sweep.concurrent or int(session_cpus // sweep.cpus_per_trial)
            final = final_plan(found, plan, own, workers)
            found.records, found.folders = execute(final, reporter), final.folders
    return found


def sweep_identity(
    base: MethodSpec, space: Space, points: Sequence[ResolvedMethod], sweep: SweepSettings, plan: Plan
) -> dict[str, Any]:
    """All that decides the trials: the cells of the method as it is, and what is searched."""
    cells = {cell.task.fold.name: cell.task.identity for cell in reversed(plan.cells)}  # of the first seed
    return {
        **plan.cells[0].task.identity,
        "fold": {name: identity["fold"] for name, identity in sorted(cells.items())},
        "sweep version": VERSION,
        "space": space.model_dump(mode="json", exclude_none=True)["parameters"],
        "search": sweep.search,
        "scheduler": sweep.scheduler,
        "samples": len(points),
        "trials": canonical_hash([point.identity() for point in points]),
    }


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
        inputs = prepare(plan.dataset, ids, encoders, patch, cache, self._reporter.preparing)
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


def _lines(sweep: Sweep) -> list[Line]:
    return [Line(fold, number, settings) for fold in sweep.folds for number, settings in enumerate(sweep.points)]
