"""Simulated counts: negative binomial, driven by what a spot covers and by programmes that the image does not show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_GENES = 1200
HIDDEN = 5  # spatial programmes without a trace in the image; the first one scales the depth
_DEPTH_ON_CELLS = 0.22  # exponent of depth on the number of nuclei
_DEPTH_HIDDEN = 0.35  # sd of log depth that the image does not show: half smooth in space, half not
_MARKER_DOMAIN = {"her2_amplicon": 0, "tumour_luminal": 0, "stroma": 2, "immune": 3, "vessel": 2}


@dataclass(frozen=True)
class Genes:
    """What the genes do: log level (g,), log fold change by domain (g, 5), loading on programmes (g, h), dispersion (g,)."""

    symbols: tuple[str, ...]
    level: NDArray[np.float64]
    fold: NDArray[np.float64]
    loading: NDArray[np.float64]
    dispersion: NDArray[np.float64]


@dataclass(frozen=True)
class PatientExpression:
    """A patient's own levels (g,), strength of each domain's genes (5,), and median UMI of a spot."""

    level: NDArray[np.float64]
    strength: NDArray[np.float64]
    depth: float


def draw_genes(rng: np.random.Generator, markers: dict[str, tuple[str, ...]]) -> Genes:
    """The markers, each tied to its group's domain, and made-up genes: tied to a domain, to a programme, or to nothing."""
    symbols = [gene for group in markers.values() for gene in group]
    domain = [_MARKER_DOMAIN[group] for group, genes in markers.items() for _ in genes]
    n_markers = len(symbols)
    symbols += [f"SIM{i:04d}" for i in range(1, N_GENES - n_markers + 1)]
    level = rng.normal(0, 1.2, N_GENES)
    level[:n_markers] = rng.normal(1.2, 0.6, n_markers)
    tied = np.concatenate(
        [domain, rng.choice([0, 1, 2, 3, 4, -1], N_GENES - n_markers, p=[0.16, 0.13, 0.08, 0.17, 0.02, 0.44])]
    )
    fold = np.zeros((N_GENES, 5))
    strength = np.abs(rng.normal(2.1, 0.5, N_GENES))
    for d in range(5):
        fold[tied == d, d] = strength[tied == d]
    fold[tied == 0, 1] += 0.6 * strength[tied == 0]  # invasive and in situ cancer share much
    fold[tied == 1, 0] += 0.4 * strength[tied == 1]
    fold[:, 4] -= 0.5  # fat holds little RNA
    loading = rng.normal(0, 0.12, (N_GENES, HIDDEN))
    loaded = rng.integers(1, HIDDEN, N_GENES)
    strong = rng.uniform(size=N_GENES) < 0.25
    loading[strong, loaded[strong]] = rng.normal(0, 0.5, strong.sum())
    loading[:, 0] = 0
    return Genes(tuple(symbols), level, fold, loading, rng.gamma(4.0, 0.03, N_GENES))


def draw_patient_expression(rng: np.random.Generator, depth: float) -> PatientExpression:
    """A patient whose genes, cancers and depth differ from the others'."""
    return PatientExpression(rng.normal(0, 0.35, N_GENES), np.exp(rng.normal(0, 0.2, 5)), depth)


def draw_counts(
    rng: np.random.Generator,
    genes: Genes,
    patient: PatientExpression,
    cells: NDArray[np.float64],
    share: NDArray[np.float64],
    hidden: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Counts int64 (n, g) of spots with `cells` nuclei of each domain (n, 5), `share` of area (n, 5), programmes (n, h)."""
    weight = cells + 4 * share
    mixture = weight / weight.sum(axis=1, keepdims=True)
    profile = np.exp(genes.level + patient.level + (genes.fold * patient.strength).T)  # (5, g)
    profile /= profile.sum(axis=1).mean()
    rate = mixture @ profile * np.exp(hidden @ genes.loading.T)
    cellularity = np.log(weight.sum(axis=1) / weight.sum(axis=1).mean())
    unseen = (hidden[:, 0] + rng.normal(0, 1, len(cells))) * _DEPTH_HIDDEN / np.sqrt(2)
    mean = rate * (patient.depth * np.exp(_DEPTH_ON_CELLS * cellularity + unseen))[:, None]
    shape = 1 / genes.dispersion
    drawn: NDArray[np.int64] = rng.poisson(mean * rng.gamma(shape, 1 / shape, mean.shape))
    return drawn
