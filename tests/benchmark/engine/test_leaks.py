"""The same spots under two names stop every command that makes folds, however their file differs; genes are named alike."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.errors import DataError, IntegrityError, QbenchError
from qbench.leaderboard.record import read_record
from typer.testing import CliRunner

from ...support import tiny_her2st
from ...support.datasets_sections import write_card, write_h5ad, write_image

run = CliRunner().invoke
SYMBOLS = tuple(f"GENE{i}" for i in range(30))
N = 64


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QBENCH_DATA", raising=False)


def values(seed: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).poisson(3.0, (n, len(SYMBOLS))).astype(np.int32)


def places(n: int = N) -> np.ndarray:
    index = np.arange(n)
    return np.column_stack([60 + 40 * (index % 8), 60 + 40 * (index // 8)]).astype(np.float64)


def write_sections(folder: Path, images: bool = False) -> list[dict[str, str]]:
    """S0 .. S3 of four patients; returns the entries of a card."""
    entries = []
    for i in range(4):
        name = f"S{i}"
        write_h5ad(folder / f"{name}.h5ad", values(i), SYMBOLS, places())
        entries.append({"id": name, "patient": f"P{i}", "file": f"{name}.h5ad"})
        if images:
            write_image(folder / f"{name}.png", seed=i)
            entries[-1] |= {"image": f"{name}.png"}
    return entries


def resaved(folder: Path) -> None:
    anndata.read_h5ad(folder / "S0.h5ad").write_h5ad(folder / "again.h5ad", compression="gzip")


def other_order(folder: Path) -> None:
    data = anndata.read_h5ad(folder / "S0.h5ad")
    data = data[np.random.default_rng(0).permutation(N)][:, list(reversed(SYMBOLS))].copy()
    data.obs_names = [f"other{i}" for i in range(N)]
    data.write_h5ad(folder / "again.h5ad")


def sixty_spots(folder: Path) -> None:
    anndata.read_h5ad(folder / "S0.h5ad")[4:].copy().write_h5ad(folder / "again.h5ad")


def merged(folder: Path) -> None:
    parts = [anndata.read_h5ad(folder / f"{name}.h5ad") for name in ("S0", "S1")]
    whole = anndata.concat(parts, index_unique="-")
    whole.obsm["spatial"] = places(2 * N)
    whole.write_h5ad(folder / "again.h5ad")


def one_pixel(folder: Path) -> None:
    (folder / "again.h5ad").write_bytes((folder / "S0.h5ad").read_bytes())
    pixels = np.array(Image.open(folder / "S0.png"))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(folder / "again.png")


@pytest.mark.parametrize(
    ("copy", "shared"), [(resaved, 64), (other_order, 64), (sixty_spots, 60), (merged, 64), (one_pixel, 64)]
)
def test_the_same_spots_under_two_patients_are_refused(
    tmp_path: Path, copy: Callable[[Path], None], shared: int
) -> None:
    images = copy is one_pixel
    entries = write_sections(tmp_path, images)
    copy(tmp_path)
    entries.append({"id": "again", "patient": "Q", "file": "again.h5ad", **({"image": "again.png"} if images else {})})
    card = write_card(tmp_path / "mine.yaml", "h5ad", entries)
    result = run(
        app, ["run", "--methods", "mean", "--dataset", str(card), "--dry-run", *([] if images else ["--no-images"])]
    )
    assert isinstance(result.exception, IntegrityError)
    assert result.exception.exit_code == 3
    smaller = min(N, shared)
    said = f"S0 (patient P0) and again (patient Q) hold the same spots: {shared} of the {smaller} compared in the smaller one"
    assert str(result.exception).startswith(said)

    checked = run(app, ["data", "verify", str(card), "--json"])
    assert checked.exit_code == 3
    leaks = json.loads(checked.stdout)["leaks"]
    assert leaks[0].startswith(said)
    assert len(leaks) == (2 if copy is merged else 1)


def test_the_clean_sections_pass(tmp_path: Path) -> None:
    card = write_card(tmp_path / "mine.yaml", "h5ad", write_sections(tmp_path))
    assert run(app, ["run", "-m", "mean", "--dataset", str(card), "--dry-run", "--no-images"]).exit_code == 0
    assert run(app, ["data", "verify", str(card)]).exit_code == 0


def test_data_add_says_so(tmp_path: Path) -> None:
    """Tables of one section, the second time in another order of rows."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, seed, order in (("S0", 0, 1), ("S1", 1, 1), ("S2", 2, 1), ("S3", 3, 1), ("S0_again", 0, -1)):
        spots = [f"s{i}" for i in range(16)][::order]
        pd.DataFrame(values(seed, 16)[::order], index=spots, columns=list(SYMBOLS)).to_csv(folder / f"{name}.csv")
        pd.DataFrame({"spot": spots, "x": places(16)[::order, 0], "y": places(16)[::order, 1]}).to_csv(
            folder / f"{name}_spots.csv", index=False
        )
    (tmp_path / "patients.csv").write_text("section,patient\nS0,P0\nS1,P1\nS2,P2\nS3,P4\nS0_again,P3\n")
    result = run(app, ["data", "add", "in", "--name", "x", "--patients", "patients.csv"])
    assert result.exit_code == 3
    said = "S0 (patient P0) and S0_again (patient P3) hold the same spots: 16 of the 16 compared in the smaller one"
    assert said in " ".join(result.output.split())
    assert (tmp_path / "x.yaml").is_file()
    # Nobody is named: they may be two people. One name for both: only a fold that parts the two is refused.
    assert run(app, ["data", "add", "in", "--name", "x"]).exit_code == 3
    (tmp_path / "patients.csv").write_text("section,patient\nS0,P0\nS1,P1\nS2,P2\nS3,P4\nS0_again,P0\n")
    result = run(app, ["data", "add", "in", "--name", "x", "--patients", "patients.csv"])
    assert result.exit_code == 0
    assert "a fold that parts the two is refused" in " ".join(result.output.split())
    parted = ["run", "-m", "mean", "--dataset", "x.yaml", "--no-images", "--dry-run"]
    result = run(app, parted)
    assert result.exit_code == 0
    assert "a fold that parts the two is refused" in " ".join(result.output.split())
    result = run(app, [*parted, "--protocol", "section", "--allow-leaky"])
    assert isinstance(result.exception, IntegrityError)
    assert "S0 (test) and S0_again" in str(result.exception)


def test_tables_of_one_her2st_section_copied_as_another_are_refused(tmp_path: Path) -> None:
    folder = tiny_her2st.make(tmp_path / "her2st")
    for place in ("ST-cnts/{}.tsv.gz", "ST-spotfiles/{}_selection.tsv"):
        (folder / place.format("C1")).write_bytes((folder / place.format("B2")).read_bytes())
    text = gzip.decompress((folder / "ST-cnts/C1.tsv.gz").read_bytes())
    (folder / "ST-cnts/C1.tsv.gz").write_bytes(gzip.compress(text, 1))
    command = ["--dataset", "her2st", "--data-dir", str(folder), "--no-images"]
    result = run(app, ["run", "-m", "mean", *command, "--dry-run"])
    assert isinstance(result.exception, IntegrityError)
    assert str(result.exception).startswith("B2 (patient B) and C1 (patient C) hold the same spots: 25 of the 25")


@pytest.fixture
def leaking(tmp_path: Path) -> list[str]:
    """Options that name a dataset in which S0 and again are the same."""
    entries = write_sections(tmp_path)
    other_order(tmp_path)
    entries.append({"id": "again", "patient": "Q", "file": "again.h5ad"})
    return ["--dataset", str(write_card(tmp_path / "mine.yaml", "h5ad", entries)), "--no-images"]


@pytest.mark.parametrize(
    "command",
    [
        ["run", "-m", "mean"],
        ["sweep", "qca", "--samples", "1"],
        ["ablate", "qca"],
        ["score", "predictions.h5ad", "--name", "theirs"],
        ["fit", "mean", "--to", "model"],
        ["protocol", "export", "--to", "tables"],
    ],
)
def test_every_command_that_makes_folds_refuses_them(tmp_path: Path, leaking: list[str], command: list[str]) -> None:
    if command[0] == "score":
        write_h5ad(
            tmp_path / "predictions.h5ad",
            values(0),
            SYMBOLS,
            obs=pd.DataFrame({"section": "S0"}, [f"spot{i}" for i in range(N)]),
        )
    if command[0] in ("sweep", "ablate"):  # of methods that read images
        entries = write_sections(tmp_path, images=True)
        one_pixel(tmp_path)
        entries.append({"id": "again", "patient": "Q", "file": "again.h5ad", "image": "again.png"})
        leaking = ["--dataset", str(write_card(tmp_path / "mine.yaml", "h5ad", entries))]
    if command[0] == "fit":
        leaking = leaking[:2]
    result = run(app, [*command, *leaking])
    assert isinstance(result.exception, IntegrityError), result.output
    assert "hold the same spots: 64 of the 64" in str(result.exception)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/*/record.json"))


@pytest.mark.slow
def test_reproduce_refuses_data_that_have_come_to_leak(tmp_path: Path) -> None:
    card = write_card(tmp_path / "mine.yaml", "h5ad", write_sections(tmp_path))
    assert run(app, ["run", "-m", "mean", "--dataset", str(card), "--no-images", "-q"]).exit_code == 0
    record = next(path for path in tmp_path.glob("runs/*/*/record.json") if read_record(path).fold.name == "P0")
    other_order(tmp_path)
    (tmp_path / "again.h5ad").replace(tmp_path / "S1.h5ad")
    result = run(app, ["reproduce", str(record.parent), "--dataset", str(card)])
    assert isinstance(result.exception, QbenchError), result.output
    assert result.exception.exit_code == 3
    assert str(result.exception).startswith("S0 (patient P0) and S1 (patient P1) hold the same spots: 64 of the 64")


def ensembl(name: str, folder: Path) -> None:
    data = anndata.read_h5ad(folder / f"{name}.h5ad")
    data.var_names = [f"ENSG{i:011d}" for i in range(len(SYMBOLS))]
    data.write_h5ad(folder / f"{name}.h5ad")


@pytest.mark.parametrize("command", [["run", "-m", "mean", "--no-images"], ["fit", "mean", "--to", "model"]])
def test_symbols_here_and_ensembl_ids_there_are_refused(tmp_path: Path, command: list[str]) -> None:
    card = write_card(tmp_path / "mine.yaml", "h5ad", write_sections(tmp_path))
    ensembl("S2", tmp_path)
    result = run(app, [*command, "--dataset", str(card)])
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 2
    assert str(result.exception) == (
        "Gene names are Ensembl ids in S2 and symbols in S0, S1, S3; name the column of symbols with 'symbols:' in the card."
    )
    for name in ("S0", "S1", "S3"):  # all alike is sound
        ensembl(name, tmp_path)
    assert run(app, [*command, "--dataset", str(card), "-q"]).exit_code == 0


@pytest.mark.slow
def test_panel_genes_that_a_test_section_lacks_are_named_once_and_recorded(tmp_path: Path) -> None:
    card = write_card(tmp_path / "mine.yaml", "h5ad", write_sections(tmp_path))
    data = anndata.read_h5ad(tmp_path / "S0.h5ad")
    data[:, [g for g in SYMBOLS if g not in ("GENE3", "GENE11")]].copy().write_h5ad(tmp_path / "S0.h5ad")
    command = ["run", "-m", "mean", "-m", "patient-mean", "--dataset", str(card), "--no-images"]
    for _ in range(2):  # said of stored cells as well
        result = run(app, command)
        assert result.exit_code == 0, result.output
        assert (
            " ".join(result.output.split()).count(
                "Section S0 lacks 2 genes of the panel, which read 0 there: GENE11, GENE3."
            )
            == 1
        )
    found = {r.fold.name: r for r in map(read_record, tmp_path.glob("runs/*/mean-*/record.json"))}
    assert set(found) == {"P0", "P1", "P2", "P3"}
    panel = found["P0"].panel["hvg"]
    assert set(found["P0"].genes_missing) == {"S0"}
    assert found["P0"].genes_missing["S0"] == tuple(g for g in panel if g in ("GENE3", "GENE11"))
    assert found["P0"].scores["S0"]["undefined_truth"] == 2
    assert found["P1"].genes_missing == {}  # S0 trains there, so its genes are the universe
    assert found["P1"].n_genes == 28
    assert found["P3"].fold.validation == ("S0",)
    assert set(found["P3"].genes_missing) == {"S0"}


def test_a_test_section_without_any_panel_gene_is_refused(tmp_path: Path) -> None:
    card = write_card(tmp_path / "mine.yaml", "h5ad", write_sections(tmp_path))
    data = anndata.read_h5ad(tmp_path / "S0.h5ad")
    data.var_names = [name.lower() for name in SYMBOLS]
    data.write_h5ad(tmp_path / "S0.h5ad")
    result = run(app, ["run", "-m", "mean", "--dataset", str(card), "--no-images", "-q"])
    assert isinstance(result.exception, QbenchError)
    assert result.exception.exit_code == 2
    assert "Section S0: expected genes of the panel (GENE" in str(result.exception)
