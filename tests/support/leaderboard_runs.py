"""A small runs folder as the harness writes it: simulated sections, and methods of a stated quality."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from qbench.benchmark.engine.result import CellResult, SectionResult
from qbench.benchmark.engine.store import write_cell
from qbench.datasets.cohort import SealedSection
from qbench.datasets.panel import choose_panel
from qbench.datasets.registry import card
from qbench.datasets.section import Section
from qbench.datasets.target import target_values
from qbench.leaderboard.record import Record
from scipy import sparse

from .leaderboard_factory import protocol, record

MARKERS = {"tumour": ("ERBB2", "G3"), "immune": ("<script>alert(1)</script>",)}
GENES = ("ERBB2", "<script>alert(1)</script>", "FTH1", "EEF2", *(f"G{i}" for i in range(2, 58)))


def make_section(name: str, patient: str, spots: int = 48, seed: int = 0) -> tuple[Section, np.ndarray]:
    """A section on a grid, and the rates (spots, genes) that its counts measure."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(8), np.arange(-(-spots // 8)))
    xy = np.stack([x.ravel(), y.ravel()], axis=1)[:spots].astype(float)
    waves = np.sin(xy @ rng.normal(0, 0.6, (2, len(GENES))) + rng.uniform(0, 6, len(GENES)))
    rates = np.exp(rng.uniform(-1, 2.5, len(GENES)) + 0.8 * waves)
    section = Section(
        id=name,
        patient=patient,
        counts=sparse.csr_matrix(rng.poisson(rates).astype(np.int32)),
        genes=GENES,
        spots=tuple(f"{int(a)}x{int(b)}" for a, b in xy),
        array_xy=xy,
        pixel_xy=xy * 290 + 500,
        content=name,
    )
    return section, rates


def make_runs(
    runs: Path,
    methods: dict[str, float],
    patients: str = "AB",
    sections: int = 2,
    target: str = "counts",
    seeds: tuple[int, ...] = (0,),
    diagnostics: dict[str, np.ndarray] | None = None,
    **more: Any,
) -> list[Record]:
    """Write a cell a method, patient and seed; a method's number is how much of the truth it knows (0..1)."""
    named = {f"{p}{i}": p for p in patients for i in range(1, sections + 1)}
    made = {name: make_section(name, patient, seed=i) for i, (name, patient) in enumerate(named.items())}
    data: Any = SimpleNamespace(load=lambda name: made[name][0])
    of = protocol(target=target, sections=tuple(named), hash=("a" if target == "counts" else "b") * 64)
    out = []
    for patient in patients:
        training = [
            (section, None) for section, _ in made.values() if section.patient != patient or patients == patient
        ]
        panel = choose_panel(training, MARKERS, "source", size=50)
        for method, quality in methods.items():
            for seed in seeds:
                rng = np.random.default_rng([seed, len(method), ord(patient)])
                results = []
                for section, rates in made.values():
                    if section.patient != patient:
                        continue
                    columns = [GENES.index(gene) for gene in panel.genes]
                    known = np.log1p(rates[:, columns])
                    noise = rng.normal(known.mean(axis=0), known.std(axis=0), known.shape)
                    if target == "proportion":
                        known = target_values(section, panel.genes, "proportion").astype(float)
                    prediction = np.maximum(quality * known + (1 - quality) * noise, 0).astype(np.float32)
                    results.append(SectionResult(_seal(section, panel.genes), prediction))
                result = CellResult(results, 1.0, 0.1, diagnostics or {}, target=target)
                result.score(data.load, panel, target, frozenset(card("her2st").technical_genes))
                base = record(method, patient, dict(result.scores), seed=seed, of=of, pooled=result.pooled, **more)
                base = base.model_copy(
                    update={
                        "cell": f"{method}-{patient}-{seed}-{target}",
                        "hashes": base.hashes.model_copy(update=result.hashes()),
                        "panel": {"hvg": panel.hvg, "heg": panel.heg, "mg": panel.mg}
                        | {f"mg:{group}": genes for group, genes in panel.markers.items()},
                    }
                )
                folder = runs / f"{of.dataset}-{of.name}-{target}" / f"{method}-{patient}-seed{seed}"
                out.append(write_cell(folder, base, result, [{"epoch": 1.0, "validation_mse": 1.0}]))
    return out


def _seal(section: Section, genes: tuple[str, ...]) -> SealedSection:
    return SealedSection(
        id=section.id,
        patient=section.patient,
        genes=genes,
        spots=section.spots,
        array_xy=section.array_xy,
        pixel_xy=section.pixel_xy,
        microns_per_pixel=0.69,
        labels=None,
        store=None,
    )
