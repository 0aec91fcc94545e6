"""What a test needs of the machine: skipped with the reason where it is not there, failed in CI."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(found: object, otherwise: str) -> None:
    """Skip where something is not there, but fail in CI: there a skip would hide that nothing was tested."""
    if found:
        return
    (pytest.fail if os.environ.get("CI", "").lower() not in ("", "0", "false") else pytest.skip)(otherwise)


def need_openvino() -> None:
    """OpenVINO is what encodes on a CPU where it is installed, so CI tests it for real."""
    need(importlib.util.find_spec("openvino"), "openvino is not installed; install the extra 'test'")
