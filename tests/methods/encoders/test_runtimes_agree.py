"""No number hangs on what runs the encoder: HVG from fp32, bf16 and OpenVINO features, on every fold of both datasets.

A CPU without bf16 instructions emulates them at some three patches a second, so there OpenVINO alone is held against fp32
unless QBENCH_EMULATE_BF16 is set.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from qbench.benchmark.engine.cohorts import open_cohort, seal
from qbench.benchmark.engine.inputs import PreparedInputs, prepare
from qbench.benchmark.engine.panels import open_panel
from qbench.benchmark.engine.plan import PATCH_SIZE
from qbench.benchmark.engine.resolve import resolve_method
from qbench.benchmark.engine.result import CellResult, SectionResult
from qbench.benchmark.engine.settle import settle_protocol
from qbench.benchmark.settings import RunSettings
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import Fold
from qbench.datasets.registry import Dataset
from qbench.datasets.target import clamp
from qbench.leaderboard.record import PatchRecord
from qbench.methods import registry
from qbench.methods.machine import cpu_flags
from qbench.methods.method import FitContext

from ...support.needs import need_openvino

pytestmark = pytest.mark.timeout(3600)

PLAIN = "eager:fp32"
BF16 = bool({"avx512_bf16", "amx_bf16"} & set(cpu_flags())) or "QBENCH_EMULATE_BF16" in os.environ
OTHERS = ("openvino", *(["eager:bf16"] if BF16 else []))
UNSEEDED = [  # controls that read images; the seed changes nothing of theirs
    name
    for name in registry.names()
    if registry.origin(name) == "qbench"
    and not (spec := registry.spec(name)).cls.seeded
    and spec.cls.inputs(spec.parameters).image
]
TRAINED = ("bleep", "histogene", "qca", "stnet")
SEEDS = (0, 1, 2)
EPOCHS = 20  # of up to 200: the spread over seeds and the effect of rounding are both there from the first ones


class Board:
    """HVG of methods on the folds of a dataset, from features of any runtime; nothing is computed twice."""

    def __init__(self, dataset: Dataset, options: RunSettings, cache: ArrayCache) -> None:
        self._dataset, self._cache = dataset, cache
        self._settled = settle_protocol(options, dataset, cache)
        self.folds = self._settled.folds
        self._inputs = functools.cache(self._prepare)
        self.hvg = functools.cache(self._hvg)

    def _prepare(self, runtime: str, method: str) -> PreparedInputs:
        encoders = resolve_method(method, RunSettings(runtime=runtime), "cpu").encoders
        patch = PatchRecord(size=PATCH_SIZE, microns_per_pixel=None)
        return prepare(self._dataset, self._settled.protocol.sections, encoders, patch, self._cache)

    def _hvg(self, runtime: str, method: str, fold: Fold, seed: int = 0) -> float:
        inputs = self._inputs(runtime, method)
        panel = open_panel(self._dataset, fold, self._cache)
        train, validation = (
            open_cohort(self._dataset, side, panel, "counts", inputs) for side in (fold.train, fold.validation)
        )
        fitted = registry.spec(method).build()
        fitted.fit(train, validation, FitContext(seed=seed, max_epochs=EPOCHS))
        tests = [seal(self._dataset.load(part.section), part, panel.genes, inputs) for part in fold.test]
        result = CellResult([SectionResult(test, clamp(fitted.predict(test), method)) for test in tests], 0, 0, {})
        result.score(self._dataset.load, panel, "counts", frozenset(self._dataset.card.technical_genes))
        return float(np.mean([scores["pcc_hvg"] for scores in result.scores.values()]))  # one patient a fold


@pytest.fixture(scope="module")
def boards(cache: ArrayCache, request: pytest.FixtureRequest) -> Callable[[str], Board]:
    need_openvino()

    @functools.cache
    def board(name: str) -> Board:
        folder: Path | None = None if name == "demo" else request.getfixturevalue("her2st_dir")
        options = RunSettings(methods=("ridge",), dataset=name, data_dir=folder)
        return Board(request.getfixturevalue(name), options, cache)

    return board


def test_the_controls_that_read_images_are_all_here() -> None:
    assert set(UNSEEDED) >= {"ridge", "knn", "colour", "context", "untrained"}


@pytest.mark.parametrize("method", UNSEEDED)
@pytest.mark.parametrize(
    "dataset", [pytest.param("demo", marks=pytest.mark.slow), pytest.param("her2st", marks=pytest.mark.hours)]
)
def test_a_control_has_the_same_figure_from_every_runtime(
    boards: Callable[[str], Board], dataset: str, method: str
) -> None:
    board = boards(dataset)
    for fold in board.folds:
        figures = {runtime: board.hvg(runtime, method, fold) for runtime in (PLAIN, *OTHERS)}
        print(f"{dataset} {method} {fold.name}: {figures}")
        assert max(figures.values()) - min(figures.values()) < 0.01, (fold.name, figures)


@pytest.mark.hours
@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("dataset", ["demo", "her2st"])
def test_a_trained_method_moves_less_than_with_its_seed(
    boards: Callable[[str], Board], dataset: str, method: str
) -> None:
    board = boards(dataset)
    for fold in board.folds:
        figures = {r: [board.hvg(r, method, fold, seed) for seed in SEEDS] for r in (PLAIN, *OTHERS)}
        spread = np.std(figures[PLAIN], ddof=1)
        print(f"{dataset} {method} {fold.name}: sd over seeds {spread:.4f}, {figures}")
        for runtime in OTHERS:
            moved = abs(np.mean(figures[runtime]) - np.mean(figures[PLAIN]))
            assert moved < spread, (fold.name, runtime, moved, spread, figures)
