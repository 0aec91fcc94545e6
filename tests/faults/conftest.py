"""How much the suite of faults tries: `pytest tests/faults -m slow --kills 200 --inputs 1000 --faults-seed 1`."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--kills", type=int, help="how many commands are killed (2)")
    group.addoption("--inputs", type=int, help="how many damaged inputs are tried (45)")
    group.addoption("--faults-seed", type=int, help="of what is tried (0)")
    group.addoption("--keep", type=Path, help="a folder for inputs that got through")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--kills", None) or 2


@pytest.fixture
def inputs(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--inputs", None) or 45


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--faults-seed", None) or 0


@pytest.fixture
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.config.getoption("--keep", None) or tmp_path / "kept"
