from __future__ import annotations

import sys
from pathlib import Path

import pytest
from qbench.datasets import registry
from qbench.datasets.cache import ArrayCache
from qbench.errors import ConfigurationError


def test_shipped_datasets() -> None:
    assert {"demo", "her2st"} <= set(registry.names())
    with pytest.raises(ConfigurationError, match="Did you mean 'her2st'"):
        registry.card("her2")


def test_the_card_of_her2st() -> None:
    card = registry.card("her2st")
    assert not card.simulated
    assert card.licence == "CC BY 4.0"
    assert len(card.expected_spots) == 36
    assert sum(card.expected_spots.values()) == 13_620
    assert card.expected_spots["D5"] == 306
    assert card.markers_name == "mg_breast_v1"
    assert {group: len(genes) for group, genes in card.markers.items()} == {
        "her2_amplicon": 4,
        "tumour_luminal": 14,
        "stroma": 6,
        "immune": 6,
        "vessel": 1,
    }
    assert len(set(card.marker_genes)) == 31
    assert len(set(card.technical_genes)) == 21
    assert not set(card.gene_lists["mg_sparse"]) & set(card.marker_genes)


def test_the_demo_shares_the_markers_and_says_that_it_is_simulated() -> None:
    card = registry.card("demo")
    assert card.simulated
    assert not card.needs_folder
    assert card.markers == registry.card("her2st").markers


def test_a_card_that_does_not_hold_what_it_must(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text in (
        "name: mine",
        "- 1",
        "name: mine\ntitle: T\nsimulated: false\nreader: h5ad\nfoldr: x",
        "name: [",
        "!!python/object:os.system {}",
    ):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"mine\.yaml"):
            registry.card(str(path))


@pytest.mark.parametrize(
    "reader", ["os:system", "never_imported:open", "qbench.datasets.her2st:open_her2st", "h5da", "../h5ad"]
)
def test_a_reader_is_a_registered_name_and_nothing_else_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\ntitle: T\nsimulated: false\nreader: '{reader}'\n")
    loaded = set(sys.modules)
    for read in (registry.card, lambda name: registry.open_dataset(name, tmp_path, ArrayCache(tmp_path))):
        with pytest.raises(ConfigurationError, match=r"mine\.yaml.*reader") as error:
            read(str(path))
        assert f"'{reader}'" in str(error.value)
        assert ", ".join(sorted(registry.READERS.names())) in str(error.value)
        assert ("Did you mean 'h5ad'?" in str(error.value)) == ("h5" in reader)
    assert set(sys.modules) == loaded
