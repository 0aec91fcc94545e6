"""The package is what its folders say, and starts without the heavy imports."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from qbench.version import __version__

from .support.places import ROOT

HEAVY = ("torch", "ray", "scanpy", "anndata", "pandas", "matplotlib", "timm")


def test_the_list_of_packages_is_the_list_of_folders():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    parts = ("benchmark", "configs", "datasets", "leaderboard", "methods")
    folders = {"qbench"} | {
        ".".join(("qbench", *path.parent.relative_to(ROOT).parts))
        for part in parts
        for path in (ROOT / part).rglob("__init__.py")
    }
    assert listed == folders


# Names of a few packages on conda-forge; OpenSlide's library is a package of its own there, not a wheel.
CONDA = {"torch": "pytorch", "ray[tune]": "ray-tune", "matplotlib": "matplotlib-base", "openslide-bin": "openslide"}


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text())
    expected = {"python": project["requires-python"].removeprefix(">=")}
    for requirement in project["dependencies"]:
        name, version = re.fullmatch(r"(.+?)[>=]=(.+)", requirement).groups()
        expected[CONDA.get(name, name)] = ".".join(version.split(".")[:3])  # a fourth part numbers builds of a wheel
    found = dict(re.fullmatch(r"(\S+) [>=]=(.+)", line).groups() for line in recipe["requirements"]["run"])
    assert found == expected
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert recipe["context"]["version"] == citation["version"] == __version__
    assert recipe["package"]["name"] == project["name"]


@pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="not a checkout")
def test_the_container_copies_all_that_the_package_is_built_of():
    ignored = (ROOT / ".dockerignore").read_text().split()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name.split(".")[1] for name in packages if "." in name}
    assert {f"!{name}" for name in folders | {"*.py", "py.typed", "pyproject.toml", "README.md", "LICENSE"}} <= set(
        ignored
    )
    for name in ignored:
        assert not name.startswith("!") or list(ROOT.glob(name[1:])), name
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^COPY (.*)", dockerfile, re.MULTILINE) == [". /src"]  # so what is ignored decides
    (extra,) = re.findall(r"^ARG EXTRA=(.*)", dockerfile, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra.strip("[]") in project["optional-dependencies"]
    assert f"pip install '.{extra}'" in (ROOT / "README.md").read_text()
    assert set(re.findall(r"^ENTRYPOINT \[\"(.*)\"\]", dockerfile, re.MULTILINE)) == set(project["scripts"])


@pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="not a checkout")
def test_the_workflow_builds_the_containers_that_the_dockerfile_names():
    told = re.findall(r"docker build -t (\S+) (.*)\.$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    variants = jobs["container"]["strategy"]["matrix"]["include"]
    assert [(v["tag"], v["arguments"]) for v in variants] == [(tag, options.strip()) for tag, options in told]
    assert len(told) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["info", "qca"], ["run", "--help"], ["info", "her2st"]])
def test_commands_that_only_tell_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['qbench', *{arguments!r}]\n"
        "from qbench.benchmark.cli.entry import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout[-300:]


def test_a_wrong_word_gives_one_sentence_and_exit_code_2():
    code = "from qbench.benchmark.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--methods", "qcaa"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "Did you mean 'qca'?" in done.stderr
    assert "Traceback" not in done.stderr
