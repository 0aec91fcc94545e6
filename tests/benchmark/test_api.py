"""qbench in a notebook."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qbench
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.settings import RunSettings, words
from qbench.errors import ConfigurationError, DataError
from qbench.methods.controls.ridge import Colour

from ..support.datasets_sections import GENES, counts, grid, write_card, write_h5ad, write_image


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i in range(3):
        write_h5ad(folder / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        write_image(folder / f"S{i}.png", seed=i)
        entries.append(
            {"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png", "microns_per_pixel": 0.5}
        )
    return write_card(folder / "mine.yaml", "h5ad", entries)


def test_importing_qbench_is_light() -> None:
    code = (
        "import sys, qbench; heavy = {'torch', 'ray', 'scanpy', 'anndata', 'pandas', 'numpy', 'matplotlib'} & "
        "set(sys.modules); "
        "print(sorted(heavy), qbench.__version__, [n for n in dir(qbench) if n[0] != '_'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert out.startswith("[] ")
    assert "['load_method', 'load_section', 'plot', 'predict', 'read_runs', 'run']" in out
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        qbench.fly  # noqa: B018


def test_a_section_and_its_anndata(card: Path) -> None:
    section = qbench.load_section(card, "S1")
    assert (section.counts.toarray() == counts(seed=1)).all()
    data = section.to_anndata()
    assert list(data.var_names) == list(GENES)
    assert (data.obsm["spatial"] == grid()).all()
    with pytest.raises(ConfigurationError, match="no section named 'S9'"):
        qbench.load_section(card, "S9")


def test_a_run_as_a_table(card: Path, tmp_path: Path) -> None:
    table = qbench.run("mean,coordinates", card, out=tmp_path / "runs", no_images=True)
    assert sorted(table["method"]) == ["coordinates", "mean"]
    mean = table.set_index("method").loc["mean"]
    assert (mean["dataset"], mean["protocol"], mean["n_patients"], mean["failed"]) == ("mine", "patient", 3, 0)
    assert mean["pcc_all"] == 0
    assert mean["mse"] > 0
    assert np.isfinite(mean["mse_sd_patients"])
    assert qbench.read_runs(tmp_path / "runs").equals(table)
    assert set(table.by_gene().groupby("section").size()) == {2 * len(table.by_gene()["gene"].unique())}
    folder = next((tmp_path / "runs").glob("*/coordinates-P0-*/model"))
    assert qbench.load_method(folder).genes
    with pytest.raises(ConfigurationError, match=r"no option of run named 'max_epoch'. Did you mean 'max_epochs'"):
        qbench.run("mean", card, out=tmp_path / "runs", max_epoch=3)


def test_the_signature_of_run_is_that_of_the_settings() -> None:
    parameters = dict(inspect.signature(qbench.run).parameters)
    assert parameters.pop("quiet").default is None
    assert list(parameters) == list(RunSettings.model_fields)
    for name, parameter in parameters.items():
        default = inspect.Parameter.empty if name == "methods" else RunSettings.model_fields[name].default
        assert parameter.default == default
        assert f"        {name}: {words(name)}" in str(qbench.run.__doc__)


@pytest.mark.slow
def test_a_fitted_model_predicts_a_slide(card: Path, tmp_path: Path) -> None:
    fit_model(RunSettings(methods=("colour",), dataset=str(card)), tmp_path / "model")
    assert isinstance(qbench.load_method(tmp_path / "model"), Colour)
    data = qbench.predict(tmp_path / "model", card.parent / "S0.png", grid="50px", microns_per_pixel=0.5)
    assert data.X.dtype == np.float32
    assert data.layers["counts"].shape == (data.n_obs, 6)
    assert data.obsm["spatial"].max() <= 600
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
    with pytest.raises(DataError, match="make one with 'qbench fit'"):
        qbench.predict(tmp_path, card.parent / "S0.png", grid="50px")
