"""The tests on a GPU: `nox -s gpu`. Their figures are printed as a Markdown table at the end."""

from __future__ import annotations

import os

import pytest
import torch

HERE = __name__.rpartition(".")[0]


@pytest.fixture(scope="session")
def device() -> str:
    """cuda; QBENCH_GPU_TESTS=cpu tries the tests themselves where there is no GPU."""
    wanted = os.environ.get("QBENCH_GPU_TESTS", "cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    return wanted


@pytest.fixture
def only_cuda(device: str) -> None:
    if device != "cuda":
        pytest.skip("says something on a GPU only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    lines = [str(text) for r in reports for name, text in r.user_properties if name == "gpu"]
    if lines:
        terminalreporter.write_line("\n| check | figure |\n|---|---|")
        for line in lines:
            terminalreporter.write_line(line)
