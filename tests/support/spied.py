"""What must reach a method on the data of `spy_data`, held against the log of `spy_method`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qbench.leaderboard.record import Record

from . import spy_data
from .spy_data import N, code, panel, red, spots, target

ALL = range(N)
NEAR, FAR = (0, 1, 2, 3, 5, 6, 7, 8), (4, 9)  # far: the fifth of the spots with the largest x
Side = list[tuple[str, Any]]
FOLDS: dict[str, tuple[Side, Side, Side]] = {  # by hand: training, validation by the next patient, test
    "A": ([("C1", ALL), ("D1", ALL)], [("B1", ALL)], [("A1", ALL), ("A2", ALL)]),
    "B": ([("A1", ALL), ("A2", ALL), ("D1", ALL)], [("C1", ALL)], [("B1", ALL)]),
    "C": ([("A1", ALL), ("A2", ALL), ("B1", ALL)], [("D1", ALL)], [("C1", ALL)]),
    "D": ([("B1", ALL), ("C1", ALL)], [("A1", ALL), ("A2", ALL)], [("D1", ALL)]),
}


def logged(spy: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, (spy.parent / "spy.jsonl").open()) if line["event"] == event]


def hold_side(seen: list[dict[str, Any]], due: Side, genes: list[str], how: str = "counts") -> None:
    """Names, order, targets, totals and pixels of one side are those of exactly these spots."""
    assert [(s["id"], s["spots"]) for s in seen] == [(name, [spots(name)[i] for i in rows]) for name, rows in due]
    for section, (name, rows) in zip(seen, due, strict=True):
        assert section["patient"] == spy_data.PATIENTS[name]
        assert section["genes"] == genes
        np.testing.assert_allclose(section["target"], target(name, genes, rows, how), rtol=1e-6)
        assert section["library_size"] == [20_000 + code(name, i) for i in rows]
        hold_images(section, name, rows)


def hold_images(section: dict[str, Any], name: str, rows: Any) -> None:
    assert section["xy"] == [spy_data.XY[i].tolist() for i in rows]
    assert section["centre"] == [[red(name), 60 + 10 * i, 200] for i in rows]
    np.testing.assert_allclose(section["red"], red(name) / 255, rtol=1e-6)


def hold_reach(reach: dict[str, Any], measured: Side, seen: Side) -> None:
    """From what was handed over, no count leads outside `measured`, and no pixel, feature or name outside `seen`."""
    assert reach["codes"] == sorted(code(name, i) for name, rows in measured for i in rows)
    assert reach["reds"] == sorted({red(name) for name, _ in seen})
    known = {name for section in spy_data.SECTIONS for name in (section, *spots(section))}
    # Names of the spots on this side: a section's patches are those of all its spots, its names are not.
    assert known & set(reach["strings"]) == {n for name, rows in seen for n in (name, *(spots(name)[i] for i in rows))}


def hold_fit(line: dict[str, Any], train: Side, validation: Side, how: str = "counts") -> None:
    genes = panel(train)
    hold_side(line["train"], train, genes, how)
    hold_side(line["validation"], validation, genes, how)
    hold_reach(line["reach"], [*train, *validation] if how == "counts" else [], [*train, *validation])


def hold_predict(line: dict[str, Any], section: str, genes: list[str], rows: Any = ALL) -> None:
    """A section to predict: its place and its image, and nothing that was measured."""
    assert (line["kind"], line["more"]) == ("SealedSection", [])
    assert (line["section"]["id"], line["section"]["spots"]) == (section, [spots(section)[i] for i in rows])
    assert line["section"]["genes"] == genes
    hold_images(line["section"], section, rows)
    hold_reach(line["reach"], [], [(section, rows)])


def hold_cells(spy: Path, folds: list[str], records: list[Record]) -> None:
    """One fit a fold, in order, then its test sections one by one; scores are of those sections and this truth."""
    fits, predicted = logged(spy, "fit"), iter(logged(spy, "predict"))
    assert len(fits) == len(records) == len(folds)
    for fit, record, fold in zip(fits, records, folds, strict=True):
        train, validation, test = FOLDS[fold]
        hold_fit(fit, train, validation)
        genes = panel(train)
        mean = np.concatenate([target(name, genes, rows) for name, rows in train]).mean(axis=0) + fit["shift"]
        for section, _ in test:
            hold_predict(next(predicted), section, genes)
            error = np.maximum(mean, 0) - target(section, genes)
            assert record.scores[section]["mse_unrounded"] == pytest.approx((error**2).mean(), rel=1e-5)
        assert record.fold.name == fold
        assert sorted(record.scores) == [name for name, _ in test]
        assert record.panel["hvg"] == tuple(genes)
    assert next(predicted, None) is None
    assert logged(spy, "reveal") == []
