"""`qbench doctor`: what of this machine helps or hinders, a line each, with the fix."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import typer

from ...errors import QbenchError
from ...version import ROOT
from . import flags

ENOUGH_DISK_GB = 5.0  # patches and features of all HER2ST sections take 2.2 GB
ENOUGH_MEMORY_GB = 4.0


def add(app: typer.Typer) -> None:
    app.command("doctor", epilog="Example: qbench doctor --data-dir her2st")(doctor)


def doctor(data_dir: flags.DataDir = None, encoder: flags.Encoder = None, as_json: flags.Json = False) -> None:
    """Check the installation, the default encoder's weights, the cache and the data; exit 1 when something fails."""
    findings = examine(data_dir, encoder)
    if as_json:
        rows = [{"check": f.check, "status": f.status, "found": f.found, "fix": f.fix} for f in findings]
        print(json.dumps({"schema": 1, "findings": rows}, indent=1))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        colours = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}
        for finding in findings:
            console.print(f"[{colours[finding.status]}]{finding.status}[/]", end=" ")
            console.print(
                f"{finding.check}: {finding.found}" + (f" - {finding.fix}" if finding.fix else ""), markup=False
            )
    if any(finding.status == "FAIL" for finding in findings):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    status: Literal["PASS", "WARN", "FAIL"]
    found: str
    fix: str = ""


def examine(data_dir: Path | None, encoder: str | None) -> list[Finding]:
    """All findings, in the order in which a user would mend them."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _torch,
        _device,
        _cpu,
        _memory,
        _openvino,
        lambda: _encoder(encoder),
        _token,
        _cache,
        _shadow,
        _ray,
        lambda: _her2st(data_dir),
    ]
    return [check() for check in checks]


def _python() -> Finding:
    return Finding("python", "PASS", ".".join(map(str, sys.version_info[:3])))


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", "FAIL", str(error), "pip install torch")
    return Finding("torch", "PASS", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _device() -> Finding:
    from ...methods.machine import resolve_device

    device = resolve_device("auto")
    if device == "cpu":
        return Finding("device", "PASS", "cpu (no usable CUDA GPU; paper profiles will be slow)")
    import torch

    return Finding("device", "PASS", torch.cuda.get_device_name())


def _cpu() -> Finding:
    from ...methods.machine import cpu_flags
    from ..engine.plan import available_cores

    found = cpu_flags()
    fast = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f") if flag in found]
    cores = f"{available_cores()} cores"
    if "amx_bf16" in found:
        return Finding("cpu", "PASS", f"{cores}, {', '.join(fast)}")
    return Finding("cpu", "PASS" if fast else "WARN", f"{cores}, no AMX{', ' + ', '.join(fast) if fast else ''}",
                   "" if fast else "encoding will be slow; a GPU or a newer CPU helps")  # fmt: skip


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    if free >= ENOUGH_MEMORY_GB:
        return Finding("memory", "PASS", f"{free:.1f} GB available")
    return Finding(
        "memory", "WARN", f"{free:.1f} GB available", f"{ENOUGH_MEMORY_GB:.0f} GB is comfortable; close other programs"
    )


def _openvino() -> Finding:
    try:
        return Finding("openvino", "PASS", version("openvino"))
    except PackageNotFoundError:
        return Finding(
            "openvino",
            "WARN",
            "not installed",
            "pip install 'qbench-spatial[cpu]' encodes several times faster on a CPU",
        )


def _encoder(name: str | None) -> Finding:
    from ...methods.encoders.card import DEFAULT
    from ...methods.encoders.registry import resolve

    name = name or DEFAULT
    try:
        spec = resolve(name)
    except QbenchError as error:
        return Finding(f"encoder {name}", "FAIL", str(error))
    return Finding(f"encoder {name}", "PASS", f"weights sha256 {spec.sha256[:12]}, {spec.runtime} {spec.dtype}")


def _token() -> Finding:
    """Whether the hub knows the user; the token itself is shown nowhere, nor what the hub's client says of it."""
    from huggingface_hub import HfApi, constants, errors, get_token

    token = get_token()
    if token is None:
        return Finding("hub token", "PASS", "none; only encoders that need a token (qbench list encoders) ask for one")
    try:
        HfApi(endpoint=constants.ENDPOINT).whoami(token)
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            fix = "make a new one on the hub's page of settings, then 'hf auth login' or set HF_TOKEN"
            return Finding("hub token", "WARN", f"present, but {constants.ENDPOINT} does not accept it", fix)
        return Finding("hub token", "WARN", f"present; {constants.ENDPOINT} answered {status} when it was tried")
    except Exception as error:  # noqa: BLE001 - no network, in the words of whichever HTTP library the client uses
        reached = f"present, not tried: {constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        return Finding("hub token", "PASS", reached)
    return Finding("hub token", "PASS", f"present, accepted by {constants.ENDPOINT}")


def _cache() -> Finding:
    from ...datasets.cache import ArrayCache

    root = ArrayCache().root
    existing = root
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        return Finding("cache", "FAIL", f"{root} cannot be written", "set QBENCH_CACHE to a folder of yours")
    free = shutil.disk_usage(existing).free / 1e9
    if free < ENOUGH_DISK_GB:
        return Finding("cache", "WARN", f"{root}, {free:.1f} GB free", "set QBENCH_CACHE to a larger disk")
    return Finding("cache", "PASS", f"{root}, {free:.0f} GB free")


def _shadow() -> Finding:
    if any(str(Path(entry or ".").resolve()) == str(ROOT) for entry in sys.path):
        return Finding(
            "import path", "WARN", "the repository root is on sys.path: its 'datasets' hides other packages of that name",
            "start with the command 'qbench' and without PYTHONPATH=.",
        )  # fmt: skip
    return Finding("import path", "PASS", "clean")


def _ray() -> Finding:
    """Who could reach the workers: our own Ray listens to this machine alone, a cluster to its whole network."""
    from ..engine.ray_session import has_token

    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    token = "a token is there" if has_token() else "there is no token"
    found = (
        f"--workers listens at 127.0.0.1 with a token of its own; for --ray-address RAY_AUTH_MODE is {mode}, {token}"
    )
    if mode == "token" and not has_token():
        return Finding(
            "ray", "WARN", found, "run 'ray get-auth-token --generate', or copy ~/.ray/auth_token of the head node"
        )
    if mode == "token" or (mode == "not set" and has_token()):
        return Finding("ray", "PASS", found)
    return Finding(
        "ray", "PASS" if mode == "not set" else "WARN", found,
        "whoever reaches a cluster without a token can run code on its nodes: start it with RAY_AUTH_MODE=token (docs/cluster.md)",
    )  # fmt: skip


def _her2st(data_dir: Path | None) -> Finding:
    from ...datasets.cache import ArrayCache
    from ...datasets.registry import open_dataset

    if data_dir is None and not os.environ.get("QBENCH_DATA"):
        return Finding(
            "her2st", "WARN", "no folder named", "pass --data-dir, set QBENCH_DATA, or run 'qbench data fetch her2st'"
        )
    try:
        dataset = open_dataset("her2st", data_dir, ArrayCache())
    except QbenchError as error:
        return Finding("her2st", "FAIL", str(error))
    images = sum(info.image is not None for info in dataset.sections)
    return Finding("her2st", "PASS", f"{len(dataset.sections)} sections, {images} with an image")
