"""Maps finer than spots on the page: placed, averaged and scaled right, and refused where they are of something else."""

import base64
from pathlib import Path

import anndata
import numpy as np
import pytest
from qbench.errors import ConfigurationError, DataError
from qbench.leaderboard import finer
from qbench.leaderboard.finer import read_finer
from qbench.leaderboard.page import render_page
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_runs import make_runs
from .test_page import data_of


def fine_map(path: Path, genes: tuple[str, ...], left: float = 0.0, points: int = 6, step: float = 10.0) -> Path:
    """As `qbench predict --resolution` writes it: a square without its last point; the first gene is the row, the others 1."""
    rows, columns = (part.ravel()[:-1] for part in np.mgrid[:points, :points])
    values = np.ones((len(rows), len(genes)), dtype=np.float32)
    values[:, 0] = rows
    table = anndata.AnnData(values)
    table.var_names = list(genes)
    table.obsm["spatial"] = np.stack([left + step * (columns + 0.5), step * (rows + 0.5)], axis=1)
    table.uns["qbench"] = {"method": "istar", "dataset": "mine", "microns_per_pixel": 0.8}
    table.uns["spatial"] = {"slide": {"images": {}, "scalefactors": {"spot_diameter_fullres": step}}}
    table.write_h5ad(path)
    return path


def test_points_become_pixels_in_the_image_and_those_of_one_pixel_are_averaged(tmp_path, monkeypatch):
    path = fine_map(tmp_path / "map.h5ad", ("X", "ERBB2"), left=40.0)
    found = read_finer(path, ["ERBB2", "absent", "X"])
    assert (found["genes"], found["shape"], found["resolution"]) == (["ERBB2", "X"], (6, 6), "8 µm")
    assert (found["left"], found["top"], found["step"], found["scale"]) == (40.0, 0.0, 10.0, [1.0, 5.0])
    pixels = np.frombuffer(base64.b64decode(found["values"]), dtype=np.uint8).reshape(2, 6, 6)
    assert pixels[1, :, 0].tolist() == [1, 52, 103, 153, 204, 255]
    assert pixels[0, 5].tolist() == [255] * 5 + [0]  # the last point is beside tissue
    monkeypatch.setattr(finer, "EDGE", 3)
    coarse = read_finer(path, ["X"])
    assert (coarse["shape"], coarse["step"], coarse["scale"]) == ((3, 3), 20.0, [4.5])
    with pytest.raises(DataError, match="name some with --genes"):
        read_finer(path, ["absent"])
    path.write_bytes(b"no map")
    with pytest.raises(DataError, match="a map of 'qbench predict --resolution'"):
        read_finer(path, ["X"])


def test_a_map_stands_beside_its_section_and_one_of_another_image_is_refused(tmp_path):
    make_runs(tmp_path / "runs", {"ridge": 0.5}, patients="A", sections=1)
    found = find_records(tmp_path / "runs")
    tables, folders = summarise([r for _, r in found]), folders_by_cell(found)
    held = data_of(render_page(tables, folders))["tables"][0]["maps"]["sections"]["A1"]
    assert held["finer"] is None
    edge = max(held["xy"]) + 1
    path = fine_map(tmp_path / "map.h5ad", tuple(held["genes"]), step=edge / 6)
    page = data_of(render_page(tables, folders, finer={"A1": path}))
    shown = page["tables"][0]["maps"]["sections"]["A1"]["finer"]
    assert (shown["genes"], shown["title"], shown["dataset"]) == (held["genes"], "istar", "mine")
    elsewhere = fine_map(tmp_path / "other.h5ad", tuple(held["genes"]), left=9 * edge, step=edge / 6)
    with pytest.raises(ConfigurationError, match="in its own pixels"):
        render_page(tables, folders, finer={"A1": elsewhere})
    with pytest.raises(ConfigurationError, match="found 'Z9'; sections: A1"):
        render_page(tables, folders, finer={"Z9": path})
