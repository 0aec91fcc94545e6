"""A task of HEST-bench: read as its authors lay it out, refused in a sentence where it is not, fetched from a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.settle import open_data, settle_protocol
from qbench.benchmark.engine.tasks import task_names
from qbench.benchmark.settings import RunSettings
from qbench.datasets import registry
from qbench.datasets.cache import ArrayCache
from qbench.datasets.patches import open_patches
from qbench.datasets.registry import Dataset
from qbench.datasets.sources import FileSource
from qbench.errors import ConfigurationError, DataError
from typer.testing import CliRunner

from ...support.fake_hub import Hub, hub
from ...support.hest_task import GENES, write_task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task IDC; nobody changes it."""
    folder = tmp_path_factory.mktemp("bench")
    write_task(folder / "IDC", spots=12)
    return folder


@pytest.fixture
def task(made: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(made / "IDC", tmp_path / "IDC"))


def opened(folder: Path) -> Dataset:
    return registry.open_dataset("hest-bench-IDC", folder, ArrayCache())


def settled(folder: Path, **changes: object):
    options = RunSettings(**{"dataset": "hest-bench-IDC", "data_dir": folder, "protocol": "hest-bench", **changes})
    return settle_protocol(options, open_data(options, ArrayCache()), ArrayCache())


def test_samples_spots_patches_and_patients_are_the_benchmarks(made: Path) -> None:
    dataset = opened(made / "IDC")
    # What no split parts stands for one patient.
    patients = {info.id: info.patient for info in dataset.sections}
    assert patients == {"S1": "S1", "S2": "S2", "S3": "S3 and 1 more", "S4": "S3 and 1 more"}
    section = dataset.load("S1")
    with h5py.File(made / "IDC/patches/S1.h5") as file:
        barcodes = [value.decode() for value in file["barcode"][:].ravel()]
        pixels = dict(zip(barcodes, file["img"][:], strict=True))
    assert set(section.spots) == set(barcodes)  # the spot that in_tissue calls 0 too, those without a patch not
    counts = anndata.read_h5ad(made / "IDC/adata/S1.h5ad")[list(section.spots)].X.toarray()
    np.testing.assert_array_equal(section.counts.toarray(), counts)
    patches, _ = open_patches(section, 224, None, ArrayCache())
    np.testing.assert_array_equal(patches[3], pixels[section.spots[3]])
    assert section.microns_per_pixel == 0.5


def test_folds_and_genes_are_the_benchmarks_and_ours_stand_beside(made: Path) -> None:
    own = settled(made / "IDC")
    assert [[part.section for part in fold.test] for fold in own.folds] == [["S1"], ["S2"], ["S3", "S4"]]
    assert [fold.validation for fold in own.folds] == [(), (), ()]
    assert own.protocol.genes == GENES[:-2]
    assert not own.leaky
    ours = settled(made / "IDC", protocol="patient")
    assert ours.protocol.genes is None
    assert [fold.name for fold in ours.folds] == ["S1", "S2", "S3 and 1 more"]
    assert all(fold.validation for fold in ours.folds)


def test_the_hash_of_a_protocol_without_given_genes_does_not_hold_them(made: Path) -> None:
    ours, own = settled(made / "IDC", protocol="patient").protocol, settled(made / "IDC").protocol
    assert "genes" not in ours.model_dump(mode="json")
    assert own.model_copy(update={"genes": GENES[:-3]}).hash != own.hash


def _no_split(task: Path) -> None:
    shutil.rmtree(task / "splits")


def _no_side(task: Path) -> None:
    (task / "splits/train_1.csv").unlink()


def _both_sides(task: Path) -> None:
    shutil.copy(task / "splits/test_0.csv", task / "splits/train_0.csv")


def _left_out(task: Path) -> None:
    rows = pd.read_csv(task / "splits/train_2.csv")
    rows[rows.sample_id != "S1"].to_csv(task / "splits/train_2.csv", index=False)


def _columns(task: Path) -> None:
    (task / "splits/test_0.csv").write_text("sample,path\nS1,x\n")


def _outside(task: Path) -> None:
    (task / "splits/test_0.csv").write_text("sample_id,patches_path,expr_path\nS1,../S1.h5,adata/S1.h5ad\n")


def _no_patches(task: Path) -> None:
    (task / "patches/S2.h5").unlink()


def _strange_genes(task: Path) -> None:
    (task / "var_50genes.json").write_text(json.dumps({"genes": ["G0", "G0"]}))


def _no_genes(task: Path) -> None:
    (task / "var_50genes.json").write_text('{"genes": ["G0"')


def _absent_gene(task: Path) -> None:
    (task / "var_50genes.json").write_text(json.dumps({"genes": ["G0", "ERBB2"]}))


def _other_barcodes(task: Path) -> None:
    shutil.copy(task / "patches/S1.h5", task / "patches/S2.h5")


def _twice(task: Path) -> None:
    with h5py.File(task / "patches/S2.h5", "r+") as file:
        file["barcode"][1] = file["barcode"][0]


def _cut(task: Path) -> None:
    path = task / "patches/S2.h5"
    path.write_bytes(path.read_bytes()[:5000])


def _cut_counts(task: Path) -> None:
    path = task / "adata/S2.h5ad"
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_no_split, r"Expected the task's splits in .*splits, found none; name the folder of hest-bench-IDC"),
        (_no_side, r"Expected both sides of split 1, but .*train_1\.csv is missing; fetch the task again"),
        (_both_sides, r"Split 0 in .* has S1 on both sides"),
        (_left_out, r"every sample of the task on a side of split 2 in .*, but S1 stands on neither"),
        (_columns, r"Expected columns sample_id, patches_path, expr_path in .*test_0\.csv, found sample, path"),
        (_outside, r"Expected a path in the task's folder in .*test_0\.csv, found '\.\./S1\.h5'"),
        (_no_patches, r"Section S2: expected .*patches/S2\.h5, but there is no such file"),
        (_strange_genes, r"Expected a list of at most 50 genes, each once, in .*var_50genes\.json"),
        (_no_genes, r"Expected a task's genes in .*var_50genes\.json, but it cannot be read"),
        (_absent_gene, r"Section S1: expected the 2 genes of var_50genes\.json .* found 1 of them missing \(ERBB2\)"),
        (
            _other_barcodes,
            r"Section S2: expected the barcodes of S2\.h5 to be spots of adata/S2\.h5ad, found 10 that are none",
        ),
        (_twice, r"Section S2: expected the barcodes of S2\.h5 .* found one twice"),
        (_cut, r"Expected HEST patches in .*S2\.h5, but it cannot be read: .*; fetch the file again\.$"),
        (_cut_counts, r"Expected an AnnData file in .*S2\.h5ad, but it cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(task: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(task)
    with pytest.raises(DataError, match=says) as caught:
        settled(task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"target": "proportion"}, "--target proportion"),
        ({"sections": "S1,S2"}, "--sections"),
        ({"no_images": True}, "--no-images"),
        ({"stain": "grey"}, "--stain grey"),
    ],
)
def test_what_would_make_other_numbers_of_its_name_is_refused(made: Path, changes: dict, flag: str) -> None:
    with pytest.raises(ConfigurationError, match=f"leave out {flag}, or use --protocol patient"):
        settled(made / "IDC", **changes)


def test_a_dataset_without_splits_is_told_so(made: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"which hest does not have; name tasks with --tasks IDC,PRAD"):
        settled(made / "IDC", dataset="hest")


# --- fetched from a hub -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A gated hub that holds the made task under the samples' published names."""
    names = ("TENX99", "TENX95", "NCBI785", "NCBI783")
    write_task(tmp_path / "hub/IDC", spots=12, splits=[[name] for name in names])
    for state in hub():
        for path in (tmp_path / "hub/IDC").rglob("*.*"):
            state.files[f"MahmoodLab/hest-bench/IDC/{path.relative_to(tmp_path / 'hub/IDC').as_posix()}"] = (
                path.read_bytes()
            )
        state.gated = True
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", state.member)
        yield state


def fetch(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["data", "fetch", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


def test_a_task_is_fetched_into_a_folder_of_its_name(server: Hub, tmp_path: Path) -> None:
    said = fetch("hest-bench", "--tasks", "IDC", "--to", tmp_path / "to")
    assert "hest-bench-IDC from hub: 17 files fetched, 0 were there" in said
    assert len(settled(tmp_path / "to/IDC").folds) == 4
    server.asked.clear()
    assert "is complete (17 files)" in fetch("hest-bench", "--tasks", "IDC", "--to", tmp_path / "to")
    assert server.asked == []


@pytest.mark.parametrize(("token", "state"), [("hf_stranger", "was refused"), ("", "HF_TOKEN is not set")])
def test_a_licence_that_is_not_accepted(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, state: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(
        DataError, match=rf"accept it at https://huggingface\.co/datasets/MahmoodLab/hest-bench, .*{state}"
    ):
        fetch("hest-bench", "--tasks", "IDC", "--to", tmp_path / "to")
    assert not (tmp_path / "to/IDC").exists()


def test_what_cannot_be_fetched_by_task(tmp_path: Path) -> None:
    for arguments, says in (
        (("hest-bench",), "fetched by task, 40 GB in all: name those wanted with --tasks IDC,PRAD"),
        (("hest-bench", "--tasks", "ICD"), "There is no task of hest-bench named 'ICD'. Did you mean 'IDC'"),
        (("hest", "--tasks", "IDC"), "Only hest-bench is fetched by task"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            fetch(*arguments, "--to", tmp_path)


def test_the_cards_know_the_tasks_their_samples_and_their_splits() -> None:
    assert set(task_names()) == {"IDC", "PRAD", "PAAD", "SKCM", "COAD", "READ", "CCRCC", "LUNG", "LYMPH_IDC", "HCC"}
    samples, splits = {}, {}
    for task in task_names():
        [source] = registry.card(f"hest-bench-{task}").sources.values()
        assert isinstance(source, FileSource)
        assert all(f"/hest-bench/resolve/main/{task}/" in file.url for file in source.files)
        samples[task], splits[task] = (
            len(set(source.sections)),
            sum("splits/test_" in file.url for file in source.files),
        )
    assert samples == {
        "IDC": 4, "PRAD": 23, "PAAD": 3, "SKCM": 2, "COAD": 4, "READ": 4, "CCRCC": 24, "LUNG": 2, "LYMPH_IDC": 4, "HCC": 2,
    }  # fmt: skip
    assert sum(splits.values()) == 29
