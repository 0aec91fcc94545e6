"""Which columns the downstream figures of a table have: one block a question, with the ceilings in the headers."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from .downstream import SET, Downstream

_BESIDE = 6
SETS_SHOWN = 17  # in print and on the page; JSON and CSV hold every set


@dataclass(frozen=True)
class Asked:
    """A question, its figures with their headers, and how to read them."""

    title: str
    figures: tuple[tuple[str, str], ...]
    note: str


def questions(downstream: Downstream) -> list[Asked]:
    """The questions that any row answers, with the figures that any row has."""
    out = []
    for asked in (*_QUESTIONS, _sets(downstream)):
        figures = tuple((header, name) for header, name in asked.figures if downstream.known(name))
        if figures:
            out.append(Asked(asked.title, figures, asked.note))
    return out


def in_print(downstream: Downstream) -> list[Asked]:
    """The same for paper and terminals: at most six figures beside each other."""
    return [
        Asked(asked.title, asked.figures[at : at + _BESIDE], asked.note)
        for asked in questions(downstream)
        for at in range(0, len(asked.figures), _BESIDE)
    ]


def downstream_data(downstream: Downstream | None) -> dict[str, Any] | None:
    """What the page shows of them: questions, ceilings, and by row and figure [mean, over patients, over seeds]."""
    asked = [] if downstream is None else questions(downstream)
    if downstream is None or not asked:
        return None
    names = [name for question in asked for _, name in question.figures]
    return {
        "questions": [{"title": q.title, "figures": q.figures, "note": q.note} for q in asked],
        "ceiling": {name: _five(value) for name, value in downstream.ceiling.items() if name in names},
        "notes": list(downstream.notes),
        "rows": {
            key: {name: [*map(_five, astuple(found[name]))] for name in names if name in found}
            for key, found in downstream.figures.items()
        },
    }


def _five(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _sets(downstream: Downstream) -> Asked:
    scored = [name for name in downstream.sets if downstream.known(f"{SET}{name}")]
    return Asked(
        "gene sets (correlation of the sets' mean)",
        (("mean", "sets"), *((name, f"{SET}{name}") for name in scored[:SETS_SHOWN])),
        "Plain mean of a set's genes in the panel, correlated over the spots of a section.",
    )


_QUESTIONS = (
    Asked(
        "Spearman (ρ) and RVD, gene by gene",
        (
            ("ρ MG", "spearman_mg"),
            ("ρ HVG", "spearman_hvg"),
            ("ρ HEG", "spearman_heg"),
            ("ρ all", "spearman_all"),
            ("RVD HVG", "rvd_hvg"),
            ("RVD all", "rvd_all"),
        ),
        "RVD, the relative variation distance: 0 is best, a constant prediction has 1.",
    ),
    Asked(
        "PCC by spatial scale",
        (
            ("near HVG", "near_hvg"),
            ("middle HVG", "middle_hvg"),
            ("far HVG", "far_hvg"),
            ("near all", "near_all"),
            ("middle all", "middle_all"),
            ("far all", "far_all"),
        ),
        "Near: within about one spot distance; middle: one to three; far: beyond three.",
    ),
    Asked(
        "spatial patterns",
        (
            ("Moran truth", "moran_truth"),
            ("Moran pred.", "moran_prediction"),
            ("r of Moran", "moran_r"),
            ("top 50", "svg_precision"),
            ("Jaccard", "svg_jaccard"),
        ),
        "A smooth prediction has a high Moran's I whatever it shows; r and the top 50 ask whether the genes are the right ones.",
    ),
    Asked(
        "domains (Leiden)",
        (
            ("ARI truth", "ari_truth"),
            ("NMI truth", "nmi_truth"),
            ("ARI labels", "ari_labels"),
            ("NMI labels", "nmi_labels"),
            ("domains", "domains_prediction"),
            ("of truth", "domains_truth"),
        ),
        "Against the truth's own domains, whose number is Leiden's choice, and against a pathologist's labels; the ceiling of the "
        "latter is what the truth's domains reach.",
    ),
    Asked(
        "profiles, spot by spot",
        (
            ("profile", "profile"),
            ("mean profile", "profile_mean"),
            ("centred", "profile_centred"),
        ),
        "Correlation over genes in a spot; beside it the prediction's mean profile in every spot's place, and both without their means.",
    ),
)
