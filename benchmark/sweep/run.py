"""`qbench sweep`: search inside every fold, then train the chosen configuration of each and score it on its test side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from ...datasets.hashing import canonical_hash
from ...errors import ConfigurationError
from ...methods.registry import MethodSpec, parse
from ...names import path_part
from ..engine.plan import Plan, available_cores, make_plan
from ..engine.ray_session import ray_session
from ..engine.reporter import Reporter
from ..engine.resolve import ResolvedMethod
from ..engine.run import execute
from ..plugins import load_plugins
from ..settings import RunSettings
from .board import Board, Line
from .final import choose, final_plan
from .folder import VERSION, sweep_folder
from .searcher import Searcher
from .settings import SweepSettings
from .space import Space, point, read_space
from .state import Drawn, Sweep, read_times

SAMPLES = 8


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
    plan = make_plan(options.model_copy(update={"methods": (base.label,), "encoders": ()}))
    if not all(fold.validation for fold in plan.ground.settled.folds):
        raise ConfigurationError(
            f"A sweep chooses on validation, which protocol '{plan.protocol.name}' does not have; use --protocol patient."
        )
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


def _lines(sweep: Sweep) -> list[Line]:
    return [Line(fold, number, settings) for fold in sweep.folds for number, settings in enumerate(sweep.points)]
