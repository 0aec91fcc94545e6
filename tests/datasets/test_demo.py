from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qbench.datasets.cache import ArrayCache
from qbench.datasets.patches import open_patches
from qbench.datasets.registry import Dataset, open_dataset
from qbench.datasets.section import Section


@pytest.fixture(scope="module")
def sections(demo: Dataset) -> list[Section]:
    return [demo.load(info.id) for info in demo.sections]


@pytest.fixture(scope="module")
def colours(sections: list[Section], cache: ArrayCache) -> dict[str, NDArray[np.float64]]:
    """Mean and standard deviation of each patch's RGB, (n, 6)."""
    patches = {section.id: np.asarray(open_patches(section, 224, None, cache)[0], np.float32) for section in sections}
    return {name: np.concatenate([p.mean((1, 2)), p.std((1, 2))], axis=1) for name, p in patches.items()}


def test_what_the_demo_holds(demo: Dataset, sections: list[Section]) -> None:
    assert demo.card.simulated
    assert collections.Counter(info.patient for info in demo.sections) == dict.fromkeys("ABCD", 2)
    assert [info.id for info in demo.sections if info.labels] == ["A1", "B1", "C1", "D1"]
    for section in sections:
        assert section.n_spots == demo.card.expected_spots[section.id]
        assert 90 <= section.n_spots <= 110
        assert len(section.genes) == 1200
        assert set(demo.card.marker_genes) <= set(section.genes)
        assert section.image is not None
        assert section.microns_per_pixel == pytest.approx(200 / 150, rel=1e-3)
    assert len({section.genes for section in sections}) == 1


@pytest.mark.slow
def test_the_same_bits_every_time(demo: Dataset, tmp_path: Path) -> None:
    again = open_dataset("demo", None, ArrayCache(tmp_path))
    assert [info.content for info in again.sections] == [info.content for info in demo.sections]
    ArrayCache(tmp_path).gc(max_bytes=0)  # as another process may, while this one has it open
    assert again.load("A1").counts.sum() == demo.load("A1").counts.sum()


def test_opening_it_again_simulates_nothing(demo: Dataset, cache: ArrayCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbench.datasets.demo._simulate", lambda *_, **__: pytest.fail("simulated again"))
    assert open_dataset("demo", None, cache).sections == demo.sections


def test_patients_differ_in_depth_and_stain(sections: list[Section], colours: dict[str, NDArray[np.float64]]) -> None:
    depth = {s.patient: np.median(s.library_size) for s in sections}
    assert max(depth.values()) > 2 * min(depth.values())
    stain = {s.patient: colours[s.id][:, :3].mean(axis=0) for s in sections}
    means = np.stack(list(stain.values()))
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1)[~np.eye(4, dtype=bool)]
    assert apart.min() > 3  # grey levels
    for one, two in zip(sections[::2], sections[1::2], strict=True):
        assert (
            np.linalg.norm(colours[one.id][:, :3].mean(axis=0) - colours[two.id][:, :3].mean(axis=0)) < apart.max() / 2
        )


def test_counts_are_overdispersed_integers(sections: list[Section]) -> None:
    counts = np.concatenate([s.counts.toarray() for s in sections if s.patient == "B"])
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    common = mean > 2
    assert counts.min() == 0
    assert np.median(variance[common] / mean[common]) > 1.5  # a Poisson count has 1


@pytest.mark.parametrize(
    ("group", "label"),
    [
        ("stroma", "connective tissue"),
        ("immune", "immune infiltrate"),
        ("tumour_luminal", "invasive cancer"),
        ("her2_amplicon", "invasive cancer"),
    ],
)
def test_markers_follow_their_tissue(demo: Dataset, sections: list[Section], group: str, label: str) -> None:
    above = []
    for section in sections:
        if section.labels is None or section.labels.count(label) < 5:
            continue
        share = section.columns(demo.card.markers[group]).sum(axis=1) / section.library_size
        here = np.array(section.labels) == label
        above.append(share[here].mean() / share[~here].mean())
    assert len(above) >= 2
    assert min(above) > 1.3


def test_depth_follows_the_image_only_in_part(sections: list[Section], colours: dict[str, NDArray[np.float64]]) -> None:
    explained = []
    for section in sections:
        inputs = np.column_stack([colours[section.id], np.ones(section.n_spots)])
        depth = np.log1p(section.library_size)
        residual = depth - inputs @ np.linalg.lstsq(inputs, depth, rcond=None)[0]
        explained.append(1 - residual.var() / depth.var())
    assert 0.1 < np.mean(explained) < 0.75


def test_colour_predicts_across_patients_and_is_far_from_perfect(
    sections: list[Section], colours: dict[str, NDArray[np.float64]]
) -> None:
    found = []
    for patient in "ABCD":
        train = [s for s in sections if s.patient != patient]
        target = np.log1p(np.concatenate([s.counts.toarray() for s in train]))
        chosen = np.argsort(-target.var(axis=0))[:50]
        inputs = np.concatenate([colours[s.id] for s in train])
        mean, sd = inputs.mean(axis=0), inputs.std(axis=0)
        scaled = (inputs - mean) / sd
        weights = np.linalg.solve(
            scaled.T @ scaled + 100 * np.eye(6), scaled.T @ (target[:, chosen] - target[:, chosen].mean(axis=0))
        )
        for section in (s for s in sections if s.patient == patient):
            predicted = (colours[section.id] - mean) / sd @ weights
            truth = np.log1p(section.counts.toarray()[:, chosen])
            found.append(np.mean([np.corrcoef(predicted[:, g], truth[:, g])[0, 1] for g in range(50)]))
    assert 0.2 < np.mean(found) < 0.6


def test_neighbouring_sections_are_alike_but_not_equal(sections: list[Section]) -> None:
    for one, two in zip(sections[::2], sections[1::2], strict=True):
        assert one.spots == two.spots
        first, second = (np.log1p(s.columns(("COL1A1", "ERBB2", "CD74"))) for s in (one, two))
        alike = [np.corrcoef(first[:, g], second[:, g])[0, 1] for g in range(3)]
        assert 0.1 < np.mean(alike) < 0.95


@pytest.mark.slow
def test_the_shifted_demo_is_the_same_biology_of_others_seen_otherwise(
    demo: Dataset, shifted: Dataset, sections: list[Section], colours: dict[str, NDArray[np.float64]], cache: ArrayCache
) -> None:
    others = [shifted.load(info.id) for info in shifted.sections]
    assert {s.patient for s in others} == set("PQRS")
    assert {s.genes for s in others} == {s.genes for s in sections}
    assert all(s.n_spots == shifted.card.expected_spots[s.id] for s in others)
    # The same genes follow the same tissue: markers of stroma are up in connective tissue, here too.
    for section in (s for s in others if s.labels):
        there = np.array(section.labels) == "connective tissue"
        markers = np.log1p(section.columns(shifted.card.markers["stroma"])).mean(axis=1)
        assert markers[there].mean() > markers[~there].mean()
    # Every section's mean colour lies farther from the demo's middle than any of the demo's own does.
    seen = {s.id: np.asarray(open_patches(s, 224, None, cache)[0], np.float32).mean((0, 1, 2)) for s in others}
    own = {s.id: colours[s.id][:, :3].mean(axis=0) for s in sections}
    middle = np.mean(list(own.values()), axis=0)
    apart = [float(np.linalg.norm(colour - middle)) for colour in seen.values()]
    assert min(apart) > max(float(np.linalg.norm(colour - middle)) for colour in own.values())
