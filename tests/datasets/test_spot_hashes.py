"""What spots are does not depend on how their file is written; what a section holds decides its content hash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.registry import open_dataset
from qbench.datasets.section import Section
from qbench.datasets.spot_hashes import content_hash, section_spots, spot_hashes
from scipy import sparse

from ..support.datasets_sections import GENES, counts, grid, write_card, write_h5ad, write_image, write_tables


def hashes(values, genes=GENES):
    return spot_hashes(sparse.csr_matrix(values), tuple(genes))


def test_a_spot_is_its_counts_by_symbol_in_any_order_without_zeros():
    values = counts()
    expected = hashes(values)
    assert expected.dtype == np.uint64
    assert len(set(expected.tolist())) == len(values)
    order = [3, 0, 5, 1, 4, 2]
    assert hashes(values[:, order], [GENES[i] for i in order]).tolist() == expected.tolist()
    wider = np.column_stack([np.zeros(len(values), np.int32), values])
    assert hashes(wider, ("ZERO", *GENES)).tolist() == expected.tolist()
    rows = np.random.default_rng(0).permutation(len(values))
    assert hashes(values[rows]).tolist() == expected[rows].tolist()


def test_a_count_a_symbol_or_a_swap_of_two_counts_is_another_spot():
    base = np.array([[3, 5, 0, 7, 1, 9]], np.int32)
    (one,) = hashes(base).tolist()
    others = [base + np.eye(6, dtype=np.int32)[[i]] for i in range(6)]
    others += [base[:, [1, 0, 2, 3, 4, 5]], 2 * base, np.array([[2**31 - 1, 5, 0, 7, 1, 9]], np.int32)]
    assert one not in [hashes(other)[0] for other in others]
    assert one != hashes(base, ("ERBB3", *GENES[1:]))[0]
    assert hashes(np.zeros((1, 6), np.int32)).tolist() == [0]


def test_rows_that_are_hashed_in_blocks_are_hashed_alike():
    values = np.random.default_rng(1).poisson(0.5, (9000, 6)).astype(np.int32)
    assert hashes(values)[5000:5003].tolist() == hashes(values[5000:5003]).tolist()


def section(**changes):
    whole = Section(
        id="S1",
        patient="P",
        counts=sparse.csr_matrix(counts()),
        genes=GENES,
        spots=tuple(f"s{i}" for i in range(12)),
        array_xy=grid() / 100,
        pixel_xy=grid(),
        microns_per_pixel=0.5,
        spot_diameter=110.0,
        labels=("tumour",) * 12,
    )
    return replace(whole, **changes)


def test_content_is_all_that_a_section_holds_and_nothing_of_its_names():
    base = content_hash(section(), "image")
    assert content_hash(section(id="S2", patient="Q", image=Path("x"), content="y", notes=("z",)), "image") == base
    wide = section().counts.astype(np.int64)
    explicit = sparse.csr_matrix((np.r_[wide.data, 0], np.r_[wide.indices, 0], np.r_[wide.indptr[:-1], wide.nnz + 1]))
    assert explicit.nnz == wide.nnz + 1
    assert content_hash(section(counts=explicit), "image") == base
    more = counts()
    more[0, 0] += 1
    changes = {
        "counts": sparse.csr_matrix(more),
        "genes": (*GENES[:-1], "GAPDH"),
        "spots": ("t0", *(f"s{i}" for i in range(1, 12))),
        "array_xy": grid() / 100 + 0.01,
        "pixel_xy": grid() + 0.01,
        "microns_per_pixel": 0.25,
        "spot_diameter": 100.0,
        "labels": ("stroma", *("tumour",) * 11),
    }
    found = [content_hash(section(**{name: value}), "image") for name, value in changes.items()]
    found += [content_hash(section(pixel_xy=None), "image"), content_hash(section(labels=None), "image")]
    found += [content_hash(section(), "another image"), content_hash(section(), None)]
    assert len({base, *found}) == len(found) + 1


def test_a_file_that_is_saved_anew_holds_the_same_content(tmp_path, cache):
    data = counts(12)
    write_h5ad(tmp_path / "S1.h5ad", data, spatial=grid())
    import anndata

    anndata.read_h5ad(tmp_path / "S1.h5ad").write_h5ad(tmp_path / "S2.h5ad", compression="gzip")
    write_image(tmp_path / "S3.png")
    sections = [
        {"id": "S1", "patient": "A", "file": "S1.h5ad"},
        {"id": "S2", "patient": "B", "file": "S2.h5ad"},
        {"id": "S3", "patient": "C", "file": "S1.h5ad", "image": "S3.png"},
    ]
    dataset = open_dataset(str(write_card(tmp_path / "mine.yaml", "h5ad", sections)), None, cache)
    one, two, three = (section_spots(dataset, name, cache) for name in ("S1", "S2", "S3"))
    assert dataset.info("S1").content != dataset.info("S2").content
    assert one.content == two.content != three.content
    assert one.hashes.tolist() == hashes(data).tolist() == three.hashes.tolist()
    assert one.library_size.tolist() == data.sum(axis=1).tolist()
    assert one.compared.tolist() == (data.sum(axis=1) >= 20).tolist()
    assert one.compared.sum() > 0


def test_spots_are_read_once(tmp_path, cache, monkeypatch):
    write_tables(tmp_path)
    sections = [{"id": "S1", "patient": "A", "file": "S1.csv", "spots": "S1_spots.csv"}]
    dataset = open_dataset(str(write_card(tmp_path / "mine.yaml", "tables", sections)), None, cache)
    first = section_spots(dataset, "S1", cache)
    sealed = replace(dataset, reader=lambda _info: pytest.fail("the section was read again"))
    again = section_spots(sealed, "S1", cache)
    assert again.content == first.content
    assert again.hashes.tolist() == first.hashes.tolist()
