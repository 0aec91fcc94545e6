"""Installed packages with entry points, as Python sees them: a folder `NAME-VERSION.dist-info` on the path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from qbench import registries
from qbench.benchmark.scoring import plugin_metrics as metrics
from qbench.methods.encoders import registry as encoders

# A package that leaves a note when it is imported, and then fails.
BROKEN = """
from pathlib import Path
(Path(__file__).parent / "imported").touch()
raise RuntimeError("half installed")
"""


def add_package(site: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.2") -> None:
    """A package with entry points: group -> name -> "module:attribute"."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {target}" for entry, target in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines))


def add_module(site: Path, name: str, code: str) -> None:
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.py").write_text(code)


def forget() -> None:
    """What is remembered of the installed packages."""
    importlib.invalidate_caches()
    registries.installed.cache_clear()
    encoders.card.cache_clear()
    metrics._brought.cache_clear()


class Site:
    """A folder of installed packages on the path."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch

    def package(self, name: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.2") -> None:
        add_package(self.folder, name, entry_points, version)
        forget()

    def module(self, name: str, code: str) -> None:
        self._patch.delitem(sys.modules, name, raising=False)
        add_module(self.folder, name, code)

    def bring(self, group: str, name: str, value: Any, package: str = "their-package") -> None:
        """A package that brings one thing; an exception is raised when its module is imported."""
        module = f"brought_{len(list(self.folder.iterdir()))}"
        if isinstance(value, Exception):
            self.module(module, f"raise {type(value).__name__}({str(value)!r})")
        else:
            made = ModuleType(module)
            made.value = value  # type: ignore[attr-defined]
            self._patch.setitem(sys.modules, module, made)
        self.package(package, {group: {name: f"{module}:value"}})


@contextmanager
def fake_site(folder: Path) -> Iterator[Site]:
    """A `Site`, gone afterwards with the modules that were imported from it."""
    folder.mkdir()
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        forget()
        yield Site(folder, patch)
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[name]
    forget()
