"""One broken plug-in harms nobody else: methods, datasets, encoders, metrics and readers of other packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from qbench import registries
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.scoring.plugin_metrics import METRICS, left_out, load_metric, metrics
from qbench.benchmark.settings import RunSettings
from qbench.datasets import registry as datasets
from qbench.datasets.cache import ArrayCache
from qbench.errors import ConfigurationError
from qbench.methods import registry as methods
from qbench.methods.encoders import registry as encoders
from qbench.registries import Registry
from typer.testing import CliRunner

from .support.datasets_sections import counts, grid, write_card, write_h5ad
from .support.fake_packages import BROKEN, Site, add_module, add_package, fake_site

REGISTRIES = [methods.METHODS, datasets.DATASETS, encoders.ENCODERS, METRICS, datasets.READERS]
KINDS = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
SHIPPED = {"method": "mean", "dataset": "demo", "encoder": "efficientnet_lite0", "metric": "pcc", "reader": "h5ad"}
GROUPS = [registry.group for registry in REGISTRIES]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fake_site(tmp_path / "site") as found:
        yield found


def use(registry: Registry, name: str) -> object:
    """What a run does with a name of a kind."""
    return {
        "method": methods.method_class,
        "dataset": datasets.card,
        "encoder": encoders.card,
        "metric": load_metric,
        "reader": lambda name: datasets.READERS.load(name, lambda value: value),
    }[registry.kind](name)


def rows(kind: str) -> tuple[dict[str, dict[str, str]], str]:
    """`qbench list KIND` by name, and what it says beside it."""
    result = CliRunner().invoke(app, ["list", f"{kind}s", "--json"])
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)[f"{kind}s"]}, result.stderr


@KINDS
def test_a_package_is_imported_only_for_its_own_names(site: Site, registry: Registry) -> None:
    shipped = SHIPPED[registry.kind]
    site.module("broken_package", BROKEN)
    site.package(
        "broken-package", {registry.group: {"theirs": "broken_package:thing", shipped: "broken_package:thing"}}
    )
    assert registry.names() == [*registry.shipped, "theirs"]
    assert registry.origin("theirs") == "broken-package"
    assert registry.origin(shipped) == "qbench"
    if registry.kind != "metric":  # ours are no functions of two arrays
        use(registry, shipped)
    with pytest.raises(ConfigurationError, match=f"There is no {registry.kind} named 'their'"):
        registry.find("their")
    assert not (site.folder / "imported").exists()
    with pytest.raises(ConfigurationError) as caught:
        use(registry, "theirs")
    assert "'theirs' of broken-package raised RuntimeError on import: half installed;" in str(caught.value)
    assert "\n" not in str(caught.value)


@KINDS
def test_a_broken_package_is_listed_beside_all_others(site: Site, registry: Registry) -> None:
    before, said = rows(registry.kind)
    assert said == ""
    site.module("exits_package", "import sys\nsys.exit(7)")  # not even an error
    site.package("exits-package", {registry.group: {"theirs": "exits_package:thing"}})
    after, said = rows(registry.kind)
    assert {name: row for name, row in after.items() if name != "theirs"} == before
    assert after["theirs"]["what"].startswith(
        f"broken: The {registry.kind} 'theirs' of exits-package raised SystemExit"
    )
    assert after["theirs"]["origin"] == "exits-package"
    assert said == ""


@KINDS
def test_two_packages_that_claim_one_name_harm_that_name_alone(site: Site, registry: Registry) -> None:
    before, _ = rows(registry.kind)
    site.package("package-a", {registry.group: {"theirs": "package_a:thing"}})
    site.package("package-b", {registry.group: {"theirs": "package_b:thing"}})
    with pytest.raises(
        ConfigurationError,
        match=r"'theirs' of package-a \(package_a:thing\) is taken by package-b \(package_b:thing\) as well; remove one",
    ):
        use(registry, "theirs")
    after, _ = rows(registry.kind)
    assert {name: row for name, row in after.items() if name != "theirs"} == before
    assert after["theirs"]["origin"] == "package-a and package-b"
    assert "is taken by package-b" in after["theirs"]["what"]
    with pytest.raises(ConfigurationError, match="is taken by package_a:thing of package-a; choose another name"):
        registry.register("theirs", "mine:thing", "me")


@KINDS
def test_a_claim_on_a_name_of_ours_is_refused_and_said(site: Site, registry: Registry) -> None:
    before, _ = rows(registry.kind)
    shipped = SHIPPED[registry.kind]
    site.package("package-a", {registry.group: {shipped: "package_a:thing"}})
    sentence = (
        f"The {registry.kind} name '{shipped}' of package-a (package_a:thing) is taken by qbench's own, which is used"
    )
    after, said = rows(registry.kind)
    assert after == before
    assert sentence in said
    assert sentence in registry.refused(shipped)[0]
    with pytest.raises(ConfigurationError, match=r"is taken by .* of qbench; choose another name"):
        registry.register(shipped, "mine:thing", "me")


@KINDS
def test_what_is_registered_while_the_program_runs(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    for _ in range(2):
        registry.register("mine", "json:dumps", "me")
    assert (registry.names()[-1], registry.origin("mine")) == ("mine", "me")
    assert registry.load("mine", lambda value: value) is json.dumps
    with pytest.raises(ConfigurationError, match="taken by json:dumps of me"):
        registry.register("mine", "json:loads", "me")
    with pytest.raises(ConfigurationError, match="as 'module:attribute', found 'json'"):
        registry.register("other", "json", "me")


def test_info_of_ours_whatever_a_broken_package_calls_so(site: Site) -> None:
    site.module("broken_package", BROKEN)
    names = ("her2st", "resnet50", "patient", "theirs")
    site.package("broken-package", {"qbench.methods": dict.fromkeys(names, "broken_package:thing")})
    for name, kind in (("her2st", "dataset"), ("resnet50", "encoder"), ("patient", "protocol")):
        result = CliRunner().invoke(app, ["info", name, "--json"])
        assert json.loads(result.stdout)[kind] == name
    with pytest.raises(ConfigurationError, match="'theirs' of broken-package raised RuntimeError"):
        CliRunner().invoke(app, ["info", "theirs"], catch_exceptions=False)


def test_data_list_beside_a_broken_package(site: Site) -> None:
    site.package("broken-package", {"qbench.datasets": {"theirs": "not_there:thing"}})
    result = CliRunner().invoke(app, ["data", "list", "--json"])
    listed = {row["name"]: row for row in json.loads(result.stdout)["datasets"]}
    assert listed["theirs"]["title"].startswith(
        "broken: The dataset 'theirs' of broken-package raised ModuleNotFoundError"
    )
    assert {"demo", "her2st"} <= set(listed)


def test_a_package_with_damaged_metadata_hides_no_other(site: Site) -> None:
    site.package("package-a", {"qbench.methods": {"theirs": "qbench.methods.controls.mean:Mean"}})
    site.package("damaged", {"qbench.methods": {"lost": "x:y"}})
    (site.folder / "damaged-1.2.dist-info" / "entry_points.txt").write_text("[qbench.methods]\nno equals sign\n")
    (site.folder / "foreign-1.dist-info").mkdir()
    (site.folder / "foreign-1.dist-info" / "entry_points.txt").write_bytes(b"[qbench.methods]\n\xff\xfe = x:y\n")
    (site.folder / "nameless-1.dist-info").mkdir()
    (site.folder / "nameless-1.dist-info" / "entry_points.txt").write_text("[qbench.methods]\nnameless = x:y\n")
    registries.installed.cache_clear()
    after, said = rows("method")
    assert after["theirs"]["origin"] == "package-a"
    assert after["nameless"]["origin"] == "an installed package"
    assert "lost" not in after
    assert "The entry points of damaged cannot be read" in said


@KINDS
@pytest.mark.parametrize("name", ["../x", "a[b", "=x", "x\x1b[31m"])
def test_what_may_be_no_name_is_left_out_or_refused(site: Site, registry: Registry, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"name of a {registry.kind} of me to be of letters"):
        registry.register(name, "json:dumps", "me")
    site.package(
        "theirs", {registry.group: {name: "json:dumps", "fine": "json:dumps"}, "console_scripts": {"a+b": "x:y"}}
    )
    assert registry.brought() == ["fine"]
    (said,) = registries.installed()[1]
    assert said.startswith("Expected the name of a plug-in of theirs to be of letters")
    assert said.isprintable()


def test_a_reader_of_another_package(site: Site, tmp_path: Path) -> None:
    site.module(
        "their_reader",
        "from qbench.datasets.readers.h5ad import open_h5ad\n"
        "def open_theirs(card, data_dir, cache):\n    return open_h5ad(card, data_dir, cache)\n",
    )
    site.package("their-package", {"qbench.readers": {"theirs": "their_reader:open_theirs", "none": "json:dumps"}})
    write_h5ad(tmp_path / "S1.h5ad", counts(), spatial=grid())
    sections = [{"id": "S1", "patient": "P1", "file": "S1.h5ad"}]
    path = write_card(tmp_path / "mine.yaml", "theirs", sections)
    assert "their_reader" not in sys.modules
    assert datasets.card(str(path)).reader == "theirs"  # reading a card imports nothing
    assert "their_reader" not in sys.modules
    assert [info.id for info in datasets.open_dataset(str(path), None, ArrayCache(tmp_path / "c")).sections] == ["S1"]


def test_the_names_that_a_run_uses_are_said_where_another_package_claims_them(site: Site, tmp_path: Path) -> None:
    for i in range(3):
        write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i), spatial=grid())
    sections = [{"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"} for i in range(3)]
    path = write_card(tmp_path / "mine.yaml", "h5ad", sections)
    options = RunSettings(methods=("mean",), dataset=str(path), no_images=True, out=tmp_path / "runs")
    site.module("broken_package", BROKEN)
    names = {registry.group: {SHIPPED[registry.kind]: "broken_package:thing"} for registry in REGISTRIES}
    site.package("broken-package", {**names, "qbench.methods": {"mean": "broken_package:M", "qca": "broken_package:Q"}})
    said = "\n".join(make_plan(options).notes)
    assert "The method name 'mean' of broken-package (broken_package:M) is taken by qbench's own, which is used" in said
    assert "The reader name 'h5ad' of broken-package" in said
    assert "The metric name 'pcc' of broken-package" in said  # every run has it
    for other in ("'qca'", "'demo'", "'efficientnet_lite0'"):  # not part of this run
        assert other not in said
    assert metrics() == ()
    assert len(left_out()) == 1
    assert not (site.folder / "imported").exists()


@pytest.mark.slow
def test_a_run_beside_broken_packages_of_all_kinds(tmp_path: Path) -> None:
    site = tmp_path / "site"
    add_module(site, "broken_package", BROKEN)
    add_package(
        site,
        "broken-package",
        {
            registry.group: {"theirs": "broken_package:x", SHIPPED[registry.kind]: "broken_package:x"}
            for registry in REGISTRIES
        },
    )
    add_package(
        site, "second-package", {group: {"theirs": "second_package:x"} for group in GROUPS if "metric" not in group}
    )
    for i in range(3):
        write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i), spatial=grid())
    sections = [{"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"} for i in range(3)]
    write_card(tmp_path / "mine.yaml", "h5ad", sections)

    def qbench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site), "QBENCH_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=240,
        )

    done = qbench("run", "--methods", "mean", "--no-images", "--dataset", "mine.yaml")
    assert done.returncode == 0, done.stderr
    shown = qbench("run", "--methods", "mean", "--no-images", "--dataset", "mine.yaml", "--json")
    (table,) = json.loads(shown.stdout)["tables"]
    assert [(row["method"], row["n_folds"], row["failed"]) for row in table["rows"]] == [("mean", 3, 0)]
    assert done.stderr.count("The metric 'theirs' of broken-package raised RuntimeError on import: half installed") == 1
    asked = qbench("run", "--methods", "theirs", "--no-images", "--dataset", "mine.yaml")
    assert asked.returncode == 2
    assert "'theirs' of broken-package (broken_package:x) is taken by second-package" in asked.stderr
    assert "Traceback" not in asked.stderr + done.stderr + shown.stderr
