"""What all tests share: a cache of their own, the demo data in it, and the real HER2ST files where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.registry import Dataset, open_dataset

_REAL = "her2st_dir"
pytest.register_assert_rewrite(f"{__package__}.support.spied")  # its assertions say what differs, as those of tests do


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _REAL in getattr(item, "fixturenames", ()):
            item.add_marker("real")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache and data folder stay out of the tests."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_CACHE", str(root))
        patch.delenv("QBENCH_DATA", raising=False)
        yield root


@pytest.fixture(scope="session")
def cache(own_cache: Path) -> ArrayCache:
    """The cache that the tests of a session share, so that nothing is made twice."""
    return ArrayCache(own_cache)


@pytest.fixture(scope="session")
def demo(cache: ArrayCache) -> Dataset:
    """The simulated dataset, made once a session."""
    return open_dataset("demo", None, cache)


@pytest.fixture(scope="session")
def shifted(cache: ArrayCache) -> Dataset:
    """The simulated dataset of a second laboratory and scanner, made once a session; it takes seconds."""
    return open_dataset("demo-shifted", None, cache)


@pytest.fixture(scope="session")
def her2st_dir() -> Path:
    """The real HER2ST files: QBENCH_TEST_DATA, else `shared/her2st` beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "her2st"
    found = Path(os.environ.get("QBENCH_TEST_DATA") or beside)
    if not (found / "ST-cnts").is_dir():
        pytest.skip(f"no HER2ST files in {found}; set QBENCH_TEST_DATA to their folder")
    return found


@pytest.fixture(scope="session")
def her2st(her2st_dir: Path, cache: ArrayCache) -> Dataset:
    """The real dataset, opened."""
    return open_dataset("her2st", her2st_dir, cache)


@pytest.fixture(autouse=True)
def own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins that a test registers end with it."""
    from qbench.methods import registry

    monkeypatch.setattr(registry.METHODS, "_registered", dict(registry.METHODS._registered))
