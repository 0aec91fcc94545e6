from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import make_folds
from qbench.datasets.patches import open_patches
from qbench.datasets.protocol import Protocol
from qbench.datasets.readers.genes import add_up_duplicates
from qbench.datasets.registry import UNNAMED, Dataset, open_dataset
from qbench.datasets.section import whole_counts
from qbench.errors import ConfigurationError, DataError, IntegrityError
from scipy import sparse

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


def write_old(path: Path, values: np.ndarray, sparse_x: bool, wide: bool) -> None:
    """An AnnData file in the layout of anndata 0.5: tables as structured arrays."""
    n = len(values)
    with h5py.File(path, "w") as file:
        if sparse_x:
            matrix = sparse.csr_matrix(values.astype(np.float32))
            group = file.create_group("X")
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(matrix.shape)
            group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
        else:
            file["X"] = values.astype(np.float32)
        names = [f"spot{i}".encode() for i in range(n)]
        kind = [("index", "S8"), ("batch", "i1")] if wide else [("index", "S8")]
        file["obs"] = np.array([(name, 1)[: len(kind)] for name in names], dtype=kind)
        file["var"] = np.array([(gene.encode(),) for gene in GENES], dtype=[("index", "S10")])
        file["obsm"] = np.array([(row,) for row in grid(n)], dtype=[("spatial", "<f8", (2,))])
        file.create_group("uns")
        if wide:
            file["uns/batch_categories"] = np.array([b"a", b"b"])


@pytest.mark.parametrize("sparse_x", [True, False])
@pytest.mark.parametrize("wide", [True, False])
def test_files_of_the_oldest_layout(tmp_path: Path, sparse_x: bool, wide: bool) -> None:
    write_old(tmp_path / "S1.h5ad", counts(), sparse_x, wide)
    section = one(tmp_path).load("S1")
    assert (section.counts.toarray() == counts()).all()
    assert (section.genes, section.spots[:2]) == (GENES, ("spot0", "spot1"))
    assert (section.pixel_xy == grid()).all()


def test_files_that_anndata_keeps_from_its_own_past(tmp_path: Path) -> None:
    """Every archived layout in anndata's own tests that has counts and positions would need its files; 0.7's is made here."""
    write_h5ad(
        tmp_path / "S1.h5ad", spatial=grid(), obs=pd.DataFrame({"kind": ["a", "b"] * 6}, index=list("abcdefghijkl"))
    )
    with h5py.File(tmp_path / "S1.h5ad", "r+") as file:
        codes, names = file["obs/kind/codes"][:], file["obs/kind/categories"][:]
        del file["obs/kind"]
        file["obs/__categories/kind"] = names
        file["obs/kind"] = codes
        file["obs/kind"].attrs["categories"] = file["obs/__categories/kind"].ref
        file["obs"].attrs["encoding-version"] = "0.1.0"
    section = one(tmp_path, labels="kind").load("S1")
    assert section.labels == ("a", "b") * 6


def test_a_layout_that_anndata_cannot_read(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    with h5py.File(tmp_path / "S1.h5ad", "r+") as file:
        file["obs"].attrs["encoding-type"] = "table-of-tomorrow"
    with pytest.raises(DataError, match=r"'obs' cannot be read.*write it anew"):
        one(tmp_path).load("S1")


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_matrices_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.setattr("qbench.datasets.readers.anndata_file.BLOCK", 18)  # three rows
    obs = pd.DataFrame({"in_tissue": [1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0]}, index=[f"spot{i}" for i in range(12)])
    data = anndata.AnnData(X=kind(counts().astype(np.float32)), obs=obs, var=pd.DataFrame(index=list(GENES)))
    data.obsm["spatial"] = grid()
    data.write_h5ad(tmp_path / "S1.h5ad")
    kept = [0, 2, 3, 4, 8, 9, 10]
    section = one(tmp_path).load("S1")
    assert (section.counts.toarray() == counts()[kept]).all()
    assert (section.pixel_xy == grid()[kept]).all()
    assert section.notes == ("5 spots outside the tissue are left out",)


@pytest.mark.parametrize(
    ("values", "left"), [([1, 0] * 6, 6), ([True, False] * 6, 6), (["1", "0"] * 6, 6), ([1.0, np.nan] * 6, 12)]
)
def test_in_tissue_however_it_is_written(tmp_path: Path, values: list, left: int) -> None:
    obs = pd.DataFrame({"in_tissue": values}, index=[f"spot{i}" for i in range(12)])
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), obs=obs)
    assert one(tmp_path).load("S1").n_spots == left


def test_no_spot_under_tissue_and_no_spot_at_all(tmp_path: Path) -> None:
    obs = pd.DataFrame({"in_tissue": [0] * 12}, index=[f"spot{i}" for i in range(12)])
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), obs=obs)
    with pytest.raises(DataError, match=r"expected spots under tissue in .*found none of 12"):
        one(tmp_path).load("S1")
    write_h5ad(tmp_path / "S1.h5ad", counts()[:0], spatial=np.zeros((0, 2)), obs=pd.DataFrame(index=[]))
    with pytest.raises(DataError, match=r"expected spots under tissue in .*it holds no spot"):
        one(tmp_path).load("S1")
    odd = pd.DataFrame({"in_tissue": ["yes"] * 12}, index=[f"spot{i}" for i in range(12)])
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), obs=odd)
    with pytest.raises(DataError, match=r"expected 0 or 1 in obs\['in_tissue'\], found 'yes'"):
        one(tmp_path).load("S1")


@pytest.mark.parametrize("column", ["array_row", "array_col"])
def test_a_spot_without_an_array_position_is_named(tmp_path: Path, column: str) -> None:
    obs = pd.DataFrame({"array_row": np.zeros(12), "array_col": np.arange(12.0)}, index=[f"spot{i}" for i in range(12)])
    obs.loc["spot4", column] = np.nan
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), obs=obs)
    with pytest.raises(DataError, match=r"1 of 12 spots have no array position .*\(spot4\)"):
        one(tmp_path).load("S1")


def test_a_spot_without_a_pixel_position_is_named(tmp_path: Path) -> None:
    xy = grid()
    xy[5, 1] = np.nan
    write_h5ad(tmp_path / "S1.h5ad", spatial=xy)
    with pytest.raises(DataError, match=r"1 of 12 spots have no position in obsm\['spatial'\] \(spot5\)"):
        one(tmp_path).load("S1")


def test_symbols_that_ids_tell_apart_are_added_up(tmp_path: Path) -> None:
    var = pd.DataFrame(
        {"gene_ids": [f"ENSG{i:011d}" for i in range(6)]}, index=["ERBB2", "TBCE", "TBCE", "A", "B", "C"]
    )
    write_h5ad(tmp_path / "S1.h5ad", var=var, spatial=grid())
    section = one(tmp_path).load("S1")
    assert section.genes == ("ERBB2", "TBCE", "A", "B", "C")
    assert (section.columns(("TBCE",))[:, 0] == counts()[:, 1] + counts()[:, 2]).all()
    assert any("added up: TBCE" in note for note in section.notes)
    # the same id twice is the same gene twice
    write_h5ad(
        tmp_path / "S1.h5ad", var=var.assign(gene_ids=var.gene_ids.where(var.index != "TBCE", "ENSG7")), spatial=grid()
    )
    with pytest.raises(DataError, match="TBCE appears more than once"):
        one(tmp_path).load("S1")


def test_spots_of_one_name_are_numbered_as_anndata_does(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), obs=pd.DataFrame(index=["a", "b", "a", *"cdefghijk"]))
    section = one(tmp_path).load("S1")
    assert section.spots[:3] == ("a", "b", "a-1")
    assert section.notes == ("1 names of spots were there already and are numbered",)


def libraries(column: str | None = "library_id", known: tuple[str, ...] = ("left", "right")) -> dict[str, object]:
    """Parts of an AnnData file of two samples, six spots each."""
    spatial = {name: {"images": {}, "scalefactors": {"tissue_hires_scalef": 0.1}} for name in known}
    index = [f"spot{i}" for i in range(12)]
    obs = pd.DataFrame({} if column is None else {column: ["right", "left"] * 6}, index=index)
    return {"obs": obs, "uns": {"spatial": spatial}}


@pytest.mark.parametrize(
    ("column", "known"), [("library_id", ("left", "right")), ("sample", ("left", "right")), ("library_id", ())]
)
def test_several_libraries_are_parted(tmp_path: Path, column: str, known: tuple[str, ...]) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), **libraries(column, known))
    with pytest.raises(DataError, match=rf"2 libraries \(left, right\).*adata\[adata.obs\['{column}'\] == 'left'\]"):
        one(tmp_path).load("S1")
    section = one(tmp_path, library="left").load("S1")
    assert section.spots == tuple(f"spot{i}" for i in range(1, 12, 2))
    assert (section.counts.toarray() == counts()[1::2]).all()
    with pytest.raises(DataError, match=r"expected library 'middle' in .*, found left, right"):
        one(tmp_path, library="middle").load("S1")


def test_libraries_that_nothing_parts(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), **libraries(None))
    with pytest.raises(DataError, match=r"several libraries \(left, right\), but no column of obs says"):
        one(tmp_path).load("S1")


def test_a_single_library_is_one_section(tmp_path: Path) -> None:
    parts = libraries()
    parts["obs"] = parts["obs"].assign(library_id="left")
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), **parts)  # uns still knows the one that was cut away
    assert one(tmp_path).load("S1").n_spots == 12


def test_a_spot_of_no_library_is_named(tmp_path: Path) -> None:
    parts = libraries()
    parts["obs"].loc["spot4", "library_id"] = None
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid(), **parts)
    with pytest.raises(DataError, match=r"1 of 12 spots have no obs\['library_id'\] \(spot4\)"):
        one(tmp_path, library="left").load("S1")


def test_a_table_of_coordinates_says_itself_which_is_x(tmp_path: Path) -> None:
    names = [f"spot{i}" for i in range(12)]
    write_h5ad(tmp_path / "S1.h5ad", spatial=pd.DataFrame(grid()[:, ::-1], index=names, columns=["y", "x"]))
    assert (one(tmp_path).load("S1").pixel_xy == grid()).all()


@pytest.mark.parametrize("dtype", [np.float16, ">f8"])
def test_counts_of_kinds_that_scipy_does_not_take(dtype: str) -> None:
    assert (whole_counts(counts().astype(dtype), "here").toarray() == counts()).all()


def test_sums_beyond_32_bits_are_refused() -> None:
    values = sparse.csr_matrix(np.full((2, 2), 2**31 - 1, dtype=np.int32))
    with pytest.raises(DataError, match="found 4294967294"):
        add_up_duplicates(values, ("A", "A"))


def test_symbols_that_anndata_made_unique_are_added_up_as_before(tmp_path: Path) -> None:
    names = ["ERBB2", "TBCE", "TBCE-1", "NKX2-1", "A", "C"]
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}" for i in range(6)]}, index=names)
    write_h5ad(tmp_path / "S1.h5ad", var=var, spatial=grid())
    section = one(tmp_path).load("S1")
    assert section.genes == ("ERBB2", "TBCE", "NKX2-1", "A", "C")
    assert (section.columns(("TBCE",))[:, 0] == counts()[:, 1] + counts()[:, 2]).all()


def _pointer(file: h5py.File) -> None:
    file["X/indptr"][3] = 1_000_000


def _backwards(file: h5py.File) -> None:
    file["X/indptr"][3] = -1


def _index(file: h5py.File) -> None:
    file["X/indices"][0] = 1_000_000


def _shape(file: h5py.File) -> None:
    file["X"].attrs["shape"] = [3, 2]


def _no_table(file: h5py.File) -> None:
    del file["obs"]
    file.create_group("obs").attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})


def _loop(file: h5py.File) -> None:
    del file["obs"]
    file["obs"] = h5py.SoftLink("/obs")


def _text_for_a_number(file: h5py.File) -> None:
    from anndata.io import write_elem

    write_elem(file, "uns/qbench", {"microns_per_pixel": "abc"})


def _elsewhere(file: h5py.File) -> None:
    del file["obsm/spatial"]
    file["obsm/spatial"] = h5py.ExternalLink("other.h5", "/x")


def _huge(file: h5py.File) -> None:
    del file["obsm/spatial"]
    file["obsm"].create_dataset("spatial", (1 << 34, 2), "f8", chunks=(1024, 2))


@pytest.mark.parametrize(
    "damage", [_pointer, _backwards, _index, _shape, _no_table, _loop, _text_for_a_number, _elsewhere, _huge]
)
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path, damage: Callable[[h5py.File], None]) -> None:
    write_h5ad(tmp_path / "S1.h5ad", spatial=grid())
    with h5py.File(tmp_path / "S1.h5ad", "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=r"Expected .*S1\.h5ad, but it cannot be read: ") as told:
        one(tmp_path).load("S1")
    assert len(str(told.value).splitlines()) == 1


def test_a_table_of_coordinates_says_which_column_is_which(tmp_path: Path) -> None:
    names = [f"spot{i}" for i in range(12)]
    write_h5ad(tmp_path / "S1.h5ad", spatial=pd.DataFrame(grid()[:, ::-1], index=names, columns=["y", "x"]))
    assert (one(tmp_path).load("S1").pixel_xy == grid()).all()
