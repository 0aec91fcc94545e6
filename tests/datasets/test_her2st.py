from __future__ import annotations

import gzip
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import Part
from qbench.datasets.her2st import open_her2st
from qbench.datasets.registry import Dataset, DatasetCard, card, open_dataset
from qbench.errors import ConfigurationError, DataError

CARD = card("her2st").model_copy(update={"expected": {}})
COUNTS = "\tERBB2\tGNAS\tVWF\n2x3\t4\t0\t1\n3x3\t0\t0\t0\n2x4\t7\t1\t0\n"
SPOTS = """x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected
3\t3\t3.1\t2.9\t310\t290\t1
2\t4\t2.0\t4.0\t200\t400\t1
9\t9\t9.0\t9.0\t900\t900\t1
2\t3\t2.0\t3.0\t200\t300\t1
"""
LABELS = """Row.names\tx\ty\tpixel_x\tpixel_y\tlabel
200x300\t2.02\t2.98\t200\t300\tinvasive cancer
310x290\t3.1\t2.9\t310\t290\tconnective tissue
NA\tNA\tNA\tNA\tNA\timmune infiltrate
700x700\t7.0\t7.0\t700\t700\tadipose tissue
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sections A1 (labelled, with an image) and A2 and B1 (counts only), among stray files."""
    root = tmp_path / "data"
    for inner in ("ST-cnts", "ST-spotfiles", "ST-pat/lbl", "ST-imgs/A/A1", "ST-imgs/A/A2"):
        (root / inner).mkdir(parents=True)
    for section in ("A1", "A2", "B1"):
        (root / "ST-cnts" / f"{section}.tsv.gz").write_bytes(gzip.compress(COUNTS.encode()))
        (root / "ST-spotfiles" / f"{section}_selection.tsv").write_text(SPOTS)
    for section in ("A1", "J1"):
        (root / "ST-pat" / "lbl" / f"{section}_labeled_coordinates.tsv").write_text(LABELS)
    (root / "ST-imgs" / "A" / "A1" / "any name HE_small.JPG").write_bytes(b"not decoded by this reader")
    for stray in ("ST-cnts/.DS_Store", "ST-cnts/notes.txt", "ST-cnts/._A3.tsv", "ST-imgs/.DS_Store"):
        (root / stray).write_text("stray")
    for stray in ("ST-imgs/A/A1/.DS_Store", "ST-imgs/A/A1/._any name HE_small.JPG", "ST-imgs/A/A2/Thumbs.db"):
        (root / stray).write_text("stray")
    return root


def opened(folder: Path, cache: ArrayCache | None = None, card: DatasetCard = CARD) -> Dataset:
    return open_her2st(card, folder, cache or ArrayCache(folder.parent / "cache"))


def test_sections_of_a_folder(folder: Path) -> None:
    dataset = opened(folder)
    assert [(info.id, info.patient, info.labels) for info in dataset.sections] == [
        ("A1", "A", True),
        ("A2", "A", False),
        ("B1", "B", False),
    ]
    assert [info.image and info.image.name for info in dataset.sections] == ["any name HE_small.JPG", None, None]
    assert len({info.content for info in dataset.sections}) == 3
    with pytest.raises(ConfigurationError, match="Did you mean 'A1'"):
        dataset.load("a1")


def test_a_clone_of_the_repository_will_do(folder: Path) -> None:
    assert [info.id for info in opened(folder.parent).sections] == ["A1", "A2", "B1"]


@pytest.mark.parametrize("times", [1, 2])
def test_a_section(folder: Path, times: int) -> None:
    for _ in range(times):
        section = opened(folder).load("A1")
    assert section.spots == ("2x3", "3x3", "2x4")  # the order of the counts
    assert section.counts.toarray().tolist() == [[4, 0, 1], [0, 0, 0], [7, 1, 0]]  # the spot without UMI stays
    assert section.genes == ("ERBB2", "GNAS", "VWF")
    assert section.array_xy.tolist() == [[2, 3], [3.1, 2.9], [2, 4]]
    assert section.pixel_xy is not None
    assert section.pixel_xy.tolist() == [[200, 300], [310, 290], [200, 400]]
    assert section.labels == ("invasive cancer", "connective tissue", "")
    assert section.microns_per_pixel == pytest.approx(2.0)  # 200 microns over 100 pixels a pitch
    assert section.spot_diameter == pytest.approx(50.0)
    assert section.patient == "A"
    assert section.content == opened(folder).info("A1").content
    assert section.notes == ("1 selected spots have no counts and are left out", "no UMI at all at 3x3")
    assert opened(folder).load("A2").labels is None


def test_tables_are_parsed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(folder).load("A1")

    def never(path: Path) -> None:
        raise AssertionError(f"{path} parsed again")

    monkeypatch.setattr("qbench.datasets.her2st.read_count_table", never)
    assert opened(folder).load("A1").n_spots == 3
    assert pickle.loads(pickle.dumps(opened(folder))).load("A1").n_spots == 3  # noqa: S301  (what a worker process receives)


@pytest.mark.parametrize(
    "file",
    [
        "ST-cnts/A1.tsv.gz",
        "ST-spotfiles/A1_selection.tsv",
        "ST-pat/lbl/A1_labeled_coordinates.tsv",
        "ST-imgs/A/A1/any name HE_small.JPG",
    ],
)
def test_content_follows_every_file(folder: Path, file: str) -> None:
    before = opened(folder)
    path = folder / file
    data = path.read_bytes()
    path.write_bytes(gzip.compress(gzip.decompress(data), 1) if file.endswith("gz") else data + b"\n")
    after = opened(folder)
    assert after.info("A1").content != before.info("A1").content
    assert after.info("A2").content == before.info("A2").content


def test_an_unpacked_table_is_preferred(folder: Path) -> None:
    (folder / "ST-cnts" / "A1.tsv").write_text(COUNTS.replace("\t4\t", "\t5\t"))
    assert opened(folder).load("A1").counts[0, 0] == 5


def replace(folder: Path, file: str, old: str, new: str) -> Path:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "2\t3\t2.0\t3.0\t200\t300\t1\n",
            "",
            r"Section A1: 1 of 3 spots with counts have no coordinates in .*A1_selection.tsv \(2x3\)",
        ),
        ("9\t9\t9.0", "2\t3\t9.0", "row 4: spot 2x3 must appear once"),
        ("310", "NA", "row 1: expected a position"),
        ("310", "far", "row 1, column 'pixel_x': expected a number, found 'far'"),
        ("new_y", "newer_y", "found no new_y"),
        ("310\t290", "-310\t-290", "grow with the array position"),
    ],
)
def test_damaged_spot_tables(folder: Path, old: str, new: str, what: str) -> None:
    replace(folder, "ST-spotfiles/A1_selection.tsv", old, new)
    with pytest.raises(DataError, match=what):
        opened(folder).load("A1")


def test_gzipped_spot_tables(folder: Path) -> None:
    whole = opened(folder).load("A1")
    for path in (
        folder / "ST-spotfiles" / "A1_selection.tsv",
        folder / "ST-pat" / "lbl" / "A1_labeled_coordinates.tsv",
    ):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    again = opened(folder).load("A1")
    assert again.labels == whole.labels
    np.testing.assert_array_equal(again.pixel_xy, whole.pixel_xy)
    packed = folder / "ST-spotfiles" / "A1_selection.tsv.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"A1_selection\.tsv\.gz"):
        opened(folder).load("A1")


def test_spots_on_one_line_have_no_scale(folder: Path) -> None:
    (folder / "ST-cnts" / "A1.tsv").write_text("\tERBB2\n2x3\t1\n2x4\t1\n")
    with pytest.raises(DataError, match="more than one row and column"):
        opened(folder).load("A1")


def test_two_labels_of_a_spot(folder: Path) -> None:
    replace(folder, "ST-pat/lbl/A1_labeled_coordinates.tsv", "7.0\t7.0", "2.0\t3.0")
    with pytest.raises(DataError, match="row 4: spot 2x3 has two labels"):
        opened(folder).load("A1")


def test_counts_without_a_spot_table(folder: Path) -> None:
    (folder / "ST-spotfiles" / "A2_selection.tsv").unlink()
    with pytest.raises(DataError, match="Section A2 has counts"):
        opened(folder)


def test_two_images_of_a_section(folder: Path) -> None:
    (folder / "ST-imgs" / "A" / "A1" / "annotated.png").write_bytes(b"")
    with pytest.raises(DataError, match="Expected one image of section A1"):
        opened(folder)


def test_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    for data_dir in (None, tmp_path / "none", tmp_path / "cache", tmp_path):
        if data_dir == tmp_path:
            (folder / "ST-cnts").rename(folder / "counts")
        with pytest.raises(DataError, match="ST-cnts") as error:
            open_dataset("her2st", data_dir, cache)
        assert "--data-dir" in str(error.value)
        assert "QBENCH_DATA" in str(error.value)
    (folder / "counts").rename(folder / "ST-cnts")
    monkeypatch.setenv("QBENCH_DATA", str(folder))
    assert len(open_dataset("her2st", None, cache).sections) == 3
    for path in (folder / "ST-cnts").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="found none"):
        open_dataset("her2st", None, cache)


def test_a_complete_set_must_be_the_published_one(folder: Path) -> None:
    def expecting(**spots: tuple[int, ...]) -> DatasetCard:
        return CARD.model_copy(update={"expected": spots})

    assert opened(folder, card=expecting(A=(3, 3), B=(3,))).load("A1").n_spots == 3
    assert (
        opened(folder, card=expecting(A=(4, 3), B=(3,), C=(3,))).load("A1").n_spots == 3
    )  # incomplete: not held against it
    with pytest.raises(DataError, match="Expected 4 spots in section A1 of the complete set, found 3"):
        opened(folder, card=expecting(A=(4, 3), B=(3,))).load("A1")
    with pytest.raises(DataError, match="found also B1"):
        opened(folder, card=expecting(A=(3, 3)))


@pytest.mark.slow
def test_the_whole_of_her2st(her2st: Dataset) -> None:
    sections = [her2st.load(info.id) for info in her2st.sections]
    assert len(sections) == 36
    assert Counter(section.patient for section in sections) == {**dict.fromkeys("ABCD", 6), **dict.fromkeys("EFGH", 3)}
    assert sum(section.n_spots for section in sections) == 13_620
    assert sum(int(section.library_size.sum()) for section in sections) == 63_083_592
    assert max(int(section.counts.max()) for section in sections) == 465
    empty = [(s.id, s.spots[i]) for s in sections for i in np.flatnonzero(s.library_size == 0)]
    assert empty == [("D5", "18x20")]
    assert len(set.union(*(set(s.genes) for s in sections))) == 18_758
    assert len(set.intersection(*(set(s.genes) for s in sections))) == 11_871
    dropped = [int(note.split()[0]) for s in sections for note in s.notes if "selected spots have no counts" in note]
    assert (sum(dropped), max(dropped)) == (33, 3)
    for section in sections:
        low, high = (0.91, 0.93) if section.patient == "A" else (0.685, 0.692)
        assert section.microns_per_pixel is not None
        assert low < section.microns_per_pixel < high
    labelled = {s.id: s.labels for s in sections if s.labels is not None}
    assert sorted(labelled) == ["A1", "B1", "C1", "D1", "E1", "F1", "G2", "H1"]
    assert all("" not in labels for labels in labelled.values())
    markers = her2st.card.marker_genes
    assert len(markers) == 31
    assert all(set(markers) <= set(section.genes) for section in sections)


def test_a_table_as_pandas_reads_it(her2st: Dataset, her2st_dir: Path) -> None:
    import pandas as pd

    table = pd.read_csv(her2st_dir / "ST-cnts" / "C1.tsv.gz", sep="\t", index_col=0)
    places = pd.read_csv(her2st_dir / "ST-spotfiles" / "C1_selection.tsv", sep="\t")
    places.index = places["x"].astype(str) + "x" + places["y"].astype(str)
    section = her2st.load("C1")
    assert section.spots == tuple(table.index)
    assert section.genes == tuple(table.columns)
    np.testing.assert_array_equal(section.counts.toarray(), table.to_numpy())
    np.testing.assert_array_equal(section.pixel_xy, places.loc[table.index, ["pixel_x", "pixel_y"]])


def test_validation_spots_are_those_of_largest_fitted_x_not_of_the_whole_one(folder: Path) -> None:
    fitted = {1: 1.0, 2: 2.0, 3: 4.6, 4: 4.3, 5: 4.4}  # whole x -> new_x
    table = ["\tERBB2\tGNAS", *(f"{x}x{1 + x % 2}\t{x}\t1" for x in fitted)]
    places = [
        SPOTS.splitlines()[0],
        *(f"{x}\t{1 + x % 2}\t{at}\t{1 + x % 2}.1\t{100 * at}\t{100 * (1 + x % 2)}\t1" for x, at in fitted.items()),
    ]
    (folder / "ST-cnts" / "B1.tsv.gz").write_bytes(gzip.compress("\n".join(table).encode() + b"\n"))
    (folder / "ST-spotfiles" / "B1_selection.tsv").write_text("\n".join(places) + "\n")
    section = opened(folder).load("B1")
    far = Part("B1", "far").rows(section.array_xy)
    assert far is not None
    assert [section.spots[i] for i in far] == ["3x2"]


def test_validation_spots_of_real_sections_follow_the_fitted_array(her2st: Dataset) -> None:
    section = her2st.load("C1")
    far = Part("C1", "far").rows(section.array_xy)
    assert far is not None
    x = section.array_xy[:, 0]
    assert x[far].min() >= np.delete(x, far).max()
    whole = np.array([[int(part) for part in spot.split("x")] for spot in section.spots], dtype=np.float64)
    chosen = Part("C1", "far").rows(whole)
    assert chosen is not None
    assert len(set(far.tolist()) - set(chosen.tolist())) == 3, "the whole column would choose three other spots"
