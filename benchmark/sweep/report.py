"""What a sweep leaves to read: sweep.md, sweep.json, every trial in a parquet table, and how far the folds agree."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_text, written
from ...leaderboard.export import tables_json
from ...leaderboard.folder import with_ceilings
from ...leaderboard.markdown import tables_markdown
from ...leaderboard.summarise import summarise
from ...leaderboard.table import Table
from ...methods.dashes import dashed
from ..engine.store import unwritable
from .board import in_words
from .plots import draw_plots
from .state import Sweep
from .trial_files import TrialResult


def write_report(sweep: Sweep) -> list[Table]:
    """Write everything into the sweep's folder; returns the leaderboard of the tuned and the untuned method.

    Raises:
        QbenchError: the folder cannot be written.
    """
    tables = with_ceilings(summarise(sweep.records), sweep.folders)
    try:
        write_trials(sweep.folder / "trials.parquet", sweep.results)
        write_text(sweep.folder / "sweep.json", json.dumps(as_dict(sweep, tables), indent=1))
        draw_plots(sweep.folder, sweep.results, sweep.space, sweep.options.select)
        write_text(sweep.folder / "sweep.md", as_markdown(sweep, tables))
    except OSError as error:
        raise unwritable(sweep.folder, error) from error
    return tables


def write_trials(path: Path, results: list[TrialResult]) -> None:
    """One row a trial: fold, trial, status, figures, epochs, seconds, and a column `set:NAME` a parameter."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fixed = ("status", "validation_mse", "validation_pcc", "epochs", "best_epoch", "seconds", "message")
    columns: dict[str, list[Any]] = {"fold": [r.fold for r in results], "trial": [r.number for r in results]}
    columns |= {name: [getattr(r, name) for r in results] for name in fixed}
    for name in results[0].settings:
        values = [dashed(r.settings[name]) for r in results]
        same = len({type(v) for v in values} - {int, float}) == 0
        columns[f"set:{name}"] = [float(v) for v in values] if same else [str(v) for v in values]
    with written(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def rank_agreement(results: list[TrialResult], select: str) -> float | None:
    """Mean over pairs of folds of Spearman's correlation of the trials' validation figures; null without two folds.

    Only trials that finished in both folds count, and pairs with at least three of those: a stopped trial's figure is not final.
    """
    by_fold: dict[str, dict[int, float]] = {}
    for result in results:
        figure = result.figure(select)
        if result.status == "finished" and figure is not None:
            by_fold.setdefault(result.fold, {})[result.number] = figure
    found = []
    for first, second in combinations(by_fold.values(), 2):
        shared = sorted(first.keys() & second.keys())
        if len(shared) >= 3:
            a, b = (_ranks(np.array([side[n] for n in shared])) for side in (first, second))
            if a.std() > 0 and b.std() > 0:
                found.append(float(np.corrcoef(a, b)[0, 1]))
    return float(np.mean(found)) if found else None


def choice_agreement(sweep: Sweep) -> dict[str, dict[str, int]]:
    """Parameter -> value -> number of folds that chose it."""
    return {
        name: dict(Counter(str(dashed(result.settings[name])) for result in sweep.chosen.values()).most_common())
        for name in sweep.space.parameters
    }


def as_dict(sweep: Sweep, tables: list[Table]) -> dict[str, Any]:
    """The content of sweep.json; nothing in it names a machine or a folder."""
    statuses = Counter(result.status for result in sweep.results)
    return {
        "schema": 1,
        "method": sweep.base.label,
        "sweep": sweep.key,
        "select": sweep.options.select,
        "search": sweep.sweep.search,
        "scheduler": sweep.sweep.scheduler,
        "space": sweep.space.model_dump(mode="json", exclude_none=True)["parameters"],
        "trials_per_fold": len(sweep.points),
        "trials": {name: statuses.get(name, 0) for name in ("finished", "stopped", "failed")},
        "chosen": {
            fold: {
                "trial": r.number,
                "settings": r.settings,
                "validation_mse": r.validation_mse,
                "validation_pcc": r.validation_pcc,
            }
            for fold, r in sweep.chosen.items()
        },
        "agreement": {
            "rank_correlation": rank_agreement(sweep.results, sweep.options.select),
            "choices": choice_agreement(sweep),
        },
        "seconds": {
            "ray": sweep.times.ray,
            "start": sweep.times.start,
            "search": sweep.times.search,
            "training": sweep.times.training,
            "training_share": sweep.times.share,
        },
        "leaderboard": tables_json(tables),
    }


def as_markdown(sweep: Sweep, tables: list[Table]) -> str:
    """The content of sweep.md."""
    statuses = Counter(result.status for result in sweep.results)
    name = "MSE" if sweep.options.select == "mse" else "PCC"
    agreement = rank_agreement(sweep.results, sweep.options.select)
    lines = [
        f"# Sweep of {sweep.base.label}",
        "",
        f"{len(sweep.points)} trials in each of {len(sweep.folds)} folds ({sweep.sweep.search}, {sweep.sweep.scheduler}): "
        f"{statuses['finished']} finished, {statuses['stopped']} stopped early, {statuses['failed']} failed. "
        f"A trial was trained on the training side of its fold and judged by the {name} of unrounded predictions on its "
        "validation side; no trial was handed anything of a test section.",
        "",
        "## Chosen",
        "",
        f"| fold | trial | validation {name} | settings |",
        "|---|---:|---:|---|",
    ]
    for fold, result in sweep.chosen.items():
        figure = result.validation_mse if sweep.options.select == "mse" else result.validation_pcc
        lines.append(f"| {fold} | {result.number} | {figure:.4f} | {in_words(result.settings)} |")
    lines += ["", "## Agreement between folds", ""]
    for parameter, counts in choice_agreement(sweep).items():
        lines.append(f"* {parameter}: " + ", ".join(f"{value} in {n}" for value, n in counts.items()))
    told = "not defined (fewer than three trials finished in two folds)" if agreement is None else f"{agreement:.2f}"
    lines += [f"* rank correlation of the finished trials' {name}, mean over pairs of folds: {told}", ""]
    if any(r.status == "failed" for r in sweep.results):
        lines += ["## Failed trials", ""]
        lines += [f"* fold {r.fold} trial {r.number}: {r.message}" for r in sweep.results if r.status == "failed"]
        lines.append("")
    lines += ["## On the test folds", "", tables_markdown(tables), "## Plots", ""]
    lines += [
        "![sensitivity](sensitivity.png)",
        "",
        "![parallel coordinates](parallel.png)",
        "",
        "## Time",
        "",
        time_in_words(sweep),
        "",
    ]
    return "\n".join(lines)


def time_in_words(sweep: Sweep) -> str:
    """One sentence on where the time of the search went."""
    times = sweep.times
    share = "" if times.share is None else f"; {100 * times.share:.0f} % of the workers' time was training"
    return (
        f"Ray was up after {times.ray:.1f} s, the first trial began {times.start:.1f} s later, the search took "
        f"{times.search:.1f} s{share}."
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks, ties shared."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)
