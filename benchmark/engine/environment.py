"""The machine and the software that a record names; no host names, no paths."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...leaderboard.record import Environment
from ...version import ROOT, __version__

PACKAGES = ("torch", "timm", "numpy", "scipy", "pandas", "anndata", "scanpy", "ray", "openvino")


def describe_environment(device: str) -> Environment:
    """What ran the cell; recorded, not part of its identity."""
    return Environment(
        qbench=__version__,
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
        system=f"{platform.system()} {platform.machine()}",
        cpu=f"{cpu_name()}, {os.cpu_count()} cores",
        gpu=_gpu() if device.startswith("cuda") else None,
        git=_git(),
    )


def cpu_name() -> str:
    """The processor as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    if "torch" not in sys.modules:
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


@cache
def _git() -> str | None:
    """Commit of the checkout that qbench runs from, "+" when it has changes; None for an installed copy."""
    if not (ROOT / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
