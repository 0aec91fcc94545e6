from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import make_folds
from qbench.datasets.patches import open_patches
from qbench.datasets.protocol import Protocol
from qbench.datasets.registry import UNNAMED, Dataset, open_dataset
from qbench.errors import ConfigurationError, DataError, IntegrityError

from ...support.datasets_sections import GENES, counts, grid, write_card, write_h5ad, write_image


def opened(tmp_path: Path, sections: list[dict], **more: object) -> Dataset:
    card = write_card(tmp_path / "mine.yaml", "h5ad", sections, **more)
    return open_dataset(str(card), None, ArrayCache(tmp_path / "cache"))


def one(tmp_path: Path, **more: object) -> Dataset:
    return opened(tmp_path, [{"id": "S1", "patient": "P1", "file": "S1.h5ad", **more}])


def test_counts_coordinates_and_patches_as_written(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    write_image(tmp_path / "S1.png")
    dataset = one(tmp_path, image="S1.png", microns_per_pixel=0.5)
    section = dataset.load("S1")
    assert section.genes == GENES
    assert (section.counts.toarray() == counts()).all()
    assert section.counts.dtype == np.int32
    assert (section.pixel_xy == grid()).all()
    # no array columns: pixels over the pitch of 100
    assert np.allclose(section.array_xy, grid() / 100)
    assert (section.patient, section.microns_per_pixel) == ("P1", 0.5)
    patches, _ = open_patches(section, 64, None, ArrayCache(tmp_path / "cache"))
    assert patches.shape == (12, 64, 64, 3)


def test_the_second_opening_parses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    first = one(tmp_path).load("S1")
    monkeypatch.setattr("qbench.datasets.readers.h5ad.open_anndata", None)
    second = one(tmp_path).load("S1")
    assert (second.counts != first.counts).nnz == 0
    assert second.content == first.content


def test_raw_counts_from_a_layer_and_from_raw(tmp_path: Path) -> None:
    normalised = np.log1p(counts().astype(float))
    write_h5ad(tmp_path / "S1.h5ad", normalised, spatial=grid(), layers={"umi": counts()})
    with pytest.raises(DataError, match=r"which look normalised; name it in the card: 'layer: umi'"):
        one(tmp_path).load("S1")
    assert (one(tmp_path, layer="umi").load("S1").counts.toarray() == counts()).all()
    with pytest.raises(DataError, match=r"expected counts in layers/spliced, found X, layers/umi"):
        one(tmp_path, layer="spliced").load("S1")
    write_h5ad(
        tmp_path / "S1.h5ad",
        normalised - normalised.mean(),
        spatial=grid(),
        raw={"X": counts(), "var": pd.DataFrame(index=list(GENES))},
    )
    with pytest.raises(DataError, match=r"look scaled; name it in the card: 'layer: raw'"):
        one(tmp_path).load("S1")
    assert (one(tmp_path, layer="raw").load("S1").counts.toarray() == counts()).all()


def test_no_coordinates(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad")
    with pytest.raises(DataError, match=r"expected coordinates in obsm\['spatial'\].*found no obsm|found "):
        one(tmp_path).load("S1")


@pytest.mark.parametrize(("factor", "advice"), [(10.0, "pixel_scale: 0.133"), (0.1, "pixel_scale: 13.3")])
def test_coordinates_of_another_resolution_than_the_image(tmp_path: Path, factor: float, advice: str) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid() * factor)
    write_image(tmp_path / "S1.png")
    with pytest.raises(DataError, match=f"600 x 500 pixels.*{advice}"):
        one(tmp_path, image="S1.png").load("S1")
    mended = one(tmp_path, image="S1.png", pixel_scale=1 / factor).load("S1")
    assert np.allclose(mended.pixel_xy, grid())


def test_spots_in_a_corner_are_taken_when_the_card_says_so(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    write_image(tmp_path / "S1.png", 3000, 3000)
    with pytest.raises(DataError, match="all in one corner"):
        one(tmp_path, image="S1.png").load("S1")
    assert (one(tmp_path, image="S1.png", pixel_scale=1).load("S1").pixel_xy == grid()).all()


def test_duplicate_symbols_are_refused(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", genes=("ERBB2", "TBCE", "TBCE", "KRT19", "VWF", "ACTB"), spatial=grid())
    with pytest.raises(DataError, match="TBCE appears more than once"):
        one(tmp_path).load("S1")


def test_ensembl_ids_are_mapped_and_their_duplicates_added_up(tmp_path: Path) -> None:
    ids = tuple(f"ENSG{i:011d}" for i in range(6))
    var = pd.DataFrame({"gene_name": ["ERBB2", "TBCE", "TBCE", "KRT19", "VWF", ""]}, index=list(ids))
    write_h5ad(tmp_path / "S1.h5ad", var=var, spatial=grid())
    section = one(tmp_path).load("S1")
    assert section.genes == ("ERBB2", "TBCE", "KRT19", "VWF", ids[5])
    assert (section.columns(("TBCE",))[:, 0] == counts()[:, 1] + counts()[:, 2]).all()
    assert any("TBCE" in note for note in section.notes)
    with pytest.raises(DataError, match="expected gene symbols in var column 'hugo', found gene_name"):
        one(tmp_path, symbols="hugo").load("S1")


def test_ensembl_ids_that_match_no_marker_are_refused(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", genes=tuple(f"ENSG{i:011d}.2" for i in range(6)), spatial=grid())
    dataset = opened(tmp_path, [{"id": "S1", "patient": "P1", "file": "S1.h5ad"}], markers={"tumour": ["ERBB2"]})
    with pytest.raises(DataError, match=r"found none of them.*name the column of gene symbols with 'symbols:'"):
        dataset.load("S1")


def test_unnamed_patients_are_refused_by_the_patient_protocol(tmp_path: Path) -> None:
    for name in ("S1", "S2"):
        write_h5ad(tmp_path / f"{name}.h5ad", counts(seed=int(name[1])), spatial=grid())
    dataset = opened(tmp_path, [{"id": "S1", "patient": "P1", "file": "S1.h5ad"}, {"id": "S2", "file": "S2.h5ad"}])
    assert dataset.info("S2").patient == UNNAMED
    assert "leak-free folds cannot be promised" in dataset.notes[0]
    patients = {info.id: info.patient for info in dataset.sections}
    protocol = Protocol(
        name="patient", title="", dataset="mine", sections=("S1", "S2"), held_out="patient", unit="patient"
    )
    with pytest.raises(IntegrityError, match="no patient is named for S2"):
        make_folds(protocol, patients)
    by_section = protocol.model_copy(update={"name": "section", "held_out": "section", "unit": "section"})
    assert [fold.name for fold in make_folds(by_section, patients)] == ["S1", "S2"]


def test_patients_that_differ_in_spelling_give_a_note(tmp_path: Path) -> None:
    for name in ("S1", "S2", "S3"):
        write_h5ad(tmp_path / f"{name}.h5ad", spatial=grid())
    sections = [{"id": s, "patient": p, "file": f"{s}.h5ad"} for s, p in (("S1", "P1"), ("S2", "p-1"), ("S3", "P2"))]
    (note,) = opened(tmp_path, sections).notes
    assert "'P1' and 'p-1' differ in spelling only" in note


def test_a_section_listed_twice_has_the_same_content(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    dataset = opened(
        tmp_path, [{"id": "S1", "patient": "P1", "file": "S1.h5ad"}, {"id": "S2", "patient": "P2", "file": "S1.h5ad"}]
    )
    assert dataset.info("S1").content == dataset.info("S2").content


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([], "lists no sections"),
        ([{"id": "S1", "file": "a.h5ad"}, {"id": "S1", "file": "b.h5ad"}], "lists S1 more than once"),
        ([{"id": "S1"}], r"sections.0.file: expected a value, found none"),
        ([{"id": "S1", "file": "a.h5ad", "mpp": 1}], r"sections.0: There is no key named .mpp."),
    ],
)
def test_faults_of_a_card(tmp_path: Path, sections: list[dict], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        opened(tmp_path, sections)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Section S1: expected .*S1\.h5ad, but there is no such file"):
        one(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "S1.h5ad").write_text("no hdf5")
    with pytest.raises(DataError, match="Expected an AnnData file"):
        one(tmp_path).load("S1")
