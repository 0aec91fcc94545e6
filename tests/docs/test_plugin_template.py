"""The folder that a package with a method is copied from: installed, it is known, and keeps its contract."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from qbench.benchmark.contract.check import check_method
from qbench.methods import registry

from ..support.fake_packages import add_package, fake_site
from ..support.places import ROOT

TEMPLATE = ROOT / "docs" / "templates" / "method-plugin"


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def test_installed_it_is_known_and_keeps_its_contract(tmp_path: Path) -> None:
    stated = project()
    with fake_site(tmp_path / "site") as site:
        for name in stated["tool"]["setuptools"]["py-modules"]:
            shutil.copy(TEMPLATE / f"{name}.py", site.folder)
        site.package(stated["project"]["name"], stated["project"]["entry-points"], stated["project"]["version"])
        assert "nearest" in registry.names()
        assert registry.origin("nearest").startswith("qbench-nearest")
        results = check_method(registry.parse("nearest", "fast"))
    assert [f"{result.promise}: {result.detail}" for result in results if result.status != "kept"] == []


@pytest.mark.slow
def test_its_own_test_passes(tmp_path: Path) -> None:
    stated = project()["project"]
    shutil.copy(TEMPLATE / "nearest_method.py", tmp_path)
    add_package(tmp_path, stated["name"], stated["entry-points"], stated["version"])
    scripts = str(Path(sys.executable).parent)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        str(TEMPLATE / "tests"),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_tutorial_teaches_the_same_method() -> None:
    def functions(source: str) -> dict[str, str]:
        """What the class's functions do, docstrings aside."""
        [made] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
        found = [node for node in made.body if isinstance(node, ast.FunctionDef)]
        return {f.name: ast.unparse([n for n in f.body if not is_docstring(n)]) for f in found}  # type: ignore[arg-type]

    def is_docstring(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    page = (ROOT / "docs" / "tutorials" / "own-method.md").read_text(encoding="utf-8")
    taught = page.partition("%%writefile nearest.py\n")[2].partition("```")[0]
    known = functions((TEMPLATE / "nearest_method.py").read_text(encoding="utf-8"))
    assert {"fit", "predict", "state", "restore"} == set(known)
    assert functions(taught) == known


def test_the_pages_name_the_folder() -> None:
    for page in ("own-method.md", "tutorials/own-method.md"):
        assert "templates/method-plugin" in (ROOT / "docs" / page).read_text(encoding="utf-8")
