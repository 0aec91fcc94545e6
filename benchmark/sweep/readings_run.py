"""`qbench ablate --readings`: combinations of readings judged on validation, then the paper's claims under some of them on test."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...leaderboard.folder import with_ceilings
from ...leaderboard.record import Record
from ...leaderboard.reported import Verdict, verdicts
from ...leaderboard.summarise import summarise
from ...leaderboard.table import Table
from ...methods.registry import MethodSpec, parse
from ..engine.plan import make_plan
from ..engine.reporter import Reporter
from ..engine.run import execute
from ..plugins import load_plugins
from ..settings import RunSettings
from .ablation import Reading, find_ablation, reported_as, reported_tables
from .readings import Multiverse, Names, read_multiverse
from .run import run_sweep
from .settings import ReadingsSettings, SweepSettings
from .space import Settings, point
from .state import Drawn, Sweep


@dataclass(frozen=True)
class Judged:
    """A combination of readings and how it did on the validation sides.

    Attributes:
        number: as drawn, 0 is the method's own.
        label: the method that it makes.
        figures: fold -> validation figure, smaller is better; folds in which its trial failed are absent.
        excess: mean over folds above the best combination of each fold; None where a fold is absent.
    """

    number: int
    names: Names
    settings: Settings
    label: str
    figures: Mapping[str, float]
    excess: float | None


@dataclass(frozen=True)
class Effect:
    """A reading over the combinations that have it: how many, how many failed in a fold, median and least excess."""

    point: str
    reading: str
    own: bool
    n: int
    failed: int
    median: float | None
    least: float | None


@dataclass(frozen=True)
class Held:
    """The claims of the paper's tables under one combination; `by_table` has the verdicts in the order of the claims."""

    judged: Judged
    role: str  # "default", "chosen" or "drawn"
    by_table: Mapping[str, tuple[Verdict, ...]]


@dataclass(frozen=True)
class Measured:
    """Everything that the report needs.

    Attributes:
        judged: all combinations, as drawn.
        chosen: the best on validation over all folds.
        nested: the leaderboard of the default beside what each fold's own validation side would choose.
        held: the claims under some combinations.
        table: the leaderboard of all rows that were measured for them.
    """

    folder: Path
    multiverse: Multiverse
    sweep: Sweep
    judged: tuple[Judged, ...]
    effects: tuple[Effect, ...]
    chosen: Judged
    nested: Table
    held: tuple[Held, ...]
    table: Table | None
    records: tuple[Record, ...]


def run_readings(
    method: str, options: RunSettings, wanted: ReadingsSettings, board_console: Any, reporter: Reporter, **shown: bool
) -> Measured:
    """Train a sample of the readings on the training sides and judge it on the validation sides; only then open the test sides.

    A second call with the same arguments reads what the first has done.

    Raises:
        ConfigurationError: no readings for this method, another search of readings in the way, no cluster.
        QbenchError: a full disk, or a fold in which no trial came to an end.
    """
    load_plugins(options.plugin)
    base = parse(method, options.profile)
    multiverse = read_multiverse(base)
    combinations = multiverse.sample(wanted.samples, options.seeds[0])
    points = [multiverse.settings(names) for names in combinations]
    # Every trial runs to its own end: a stopped one could not be compared.
    search = SweepSettings(
        samples=len(points), scheduler="fifo", cpus_per_trial=1.0, concurrent=options.workers, new=wanted.new
    )
    drawn = Drawn("readings", multiverse.space(), points)
    sweep = run_sweep(base.label, options, search, board_console, reporter, drawn, **shown)
    judged = judge(sweep, multiverse, combinations)
    chosen = best(judged)
    (nested,) = with_ceilings(summarise(sweep.records, reference=base.label), sweep.folders)
    roles = select(judged, chosen, wanted.claims)
    held, table, records = hold(base, roles, options, reporter)
    return Measured(
        folder=sweep.folder,
        multiverse=multiverse,
        sweep=sweep,
        judged=judged,
        effects=effects(judged, multiverse),
        chosen=chosen,
        nested=nested,
        held=held,
        table=table,
        records=(*sweep.records, *records),
    )


def judge(sweep: Sweep, multiverse: Multiverse, combinations: Sequence[Names]) -> tuple[Judged, ...]:
    """The combinations with their validation figures."""
    found: dict[int, dict[str, float]] = {number: {} for number in range(len(combinations))}
    for result in sweep.results:
        figure = result.figure(sweep.options.select)
        if result.status == "finished" and figure is not None:
            found[result.number][result.fold] = figure
    lowest = {fold: min(f[fold] for f in found.values() if fold in f) for fold in sweep.folds}
    out = []
    for number, names in enumerate(combinations):
        figures, settings = found[number], multiverse.settings(names)
        complete = set(figures) == set(sweep.folds)
        excess = statistics.fmean(figures[fold] - lowest[fold] for fold in sweep.folds) if complete else None
        out.append(Judged(number, names, settings, point(sweep.base, settings).label, figures, excess))
    return tuple(out)


def best(judged: Sequence[Judged]) -> Judged:
    """The least mean excess; ties go to the first drawn. One that failed in a fold is taken only if all did."""
    return min(judged, key=lambda one: (one.excess is None, one.excess or 0.0, one.number))


def effects(judged: Sequence[Judged], multiverse: Multiverse) -> tuple[Effect, ...]:
    """Every reading of every point, over the combinations that have it."""
    out = []
    for place, asked in enumerate(multiverse.points):
        for reading in asked.readings:
            own = [one for one in judged if one.names[place] == reading.reading]
            known = [one.excess for one in own if one.excess is not None]
            out.append(
                Effect(
                    asked.point,
                    reading.reading,
                    reading.reading == multiverse.own[place],
                    len(own),
                    len(own) - len(known),
                    statistics.median(known) if known else None,
                    min(known) if known else None,
                )
            )
    return tuple(out)


def select(judged: Sequence[Judged], chosen: Judged, n: int) -> list[tuple[str, Judged]]:
    """The combinations whose claims are measured: the method's own, the chosen one, then others as they were drawn.

    Not the next best ones: how often a claim holds is asked of the multiverse, not of what suits it.
    """
    first = [("default", judged[0])]
    if chosen.number:
        first.append(("chosen", chosen))
    taken = {one.number for _, one in first}
    return [*first, *(("drawn", one) for one in judged if one.number not in taken)][:n]


def hold(
    base: MethodSpec, roles: Sequence[tuple[str, Judged]], options: RunSettings, reporter: Reporter
) -> tuple[tuple[Held, ...], Table | None, list[Record]]:
    """The rows of the paper's tables under each combination through ordinary cells, and the claims held against them."""
    ablation = find_ablation(base.name)
    if ablation is None or not roles:
        return (), None, []
    tables = []
    for role, one in roles:
        reading = Reading(name=one.label, settings={**base.settings, **one.settings})
        shown = {
            reported.name: reported_as(reported, reading, (), base.profile) for _, reported in reported_tables(ablation)
        }
        tables.append((role, one, shown))
    labels = dict.fromkeys(row.method for _, _, shown in tables for table in shown.values() for row in table.rows)
    plan = make_plan(options.model_copy(update={"methods": (base.label, *labels), "encoders": ()}))
    records = execute(plan, reporter)
    (table,) = with_ceilings(summarise(records, reference=base.label), plan.folders)
    held = tuple(
        Held(one, role, {name: tuple(verdicts(table, reported)) for name, reported in shown.items()})
        for role, one, shown in tables
    )
    return held, table, records
