"""What this machine computes with: device, runtime and dtype, decided from what the machine has, never from a timing.

The choice is part of a feature's key and of a cell's identity, so it must come out the same on every start.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Literal

from ..errors import ConfigurationError, unknown

_log = logging.getLogger("qbench")
# How a backbone that a method tunes is computed where nothing is learned, unless the run's runtime says otherwise.
EXACT = "eager:fp32"
RUNTIMES = ("auto", "eager", "compiled", "openvino")
# Instructions that multiply bf16 matrices; without them bf16 is emulated and slower than fp32.
BF16_FLAGS = ("amx_bf16", "avx512_bf16")
# Raised whenever what runs in bf16 changes; 2: layers that predict, and QCA but for its backbone, run in fp32.
BF16_VERSION = 2
# Backbones whose fp32 training steps gain on a CPU from compiling, as measured (docs/performance.md); DenseNet-121 does not.
COMPILED_BACKBONES = ("ctranspath", "resnet50")
# Training passes over a section from which it pays: it takes about a minute and saves some 50 ms an image on two cores.
COMPILE_FROM = 32


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU as Linux names them; empty on systems that do not say."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware (AMX or AVX-512 BF16)."""
    return any(flag in cpu_flags() for flag in BF16_FLAGS)


@cache
def resolve_device(device: str = "auto") -> str:
    """The device, "cpu" or "cuda"; "auto" is cuda where torch can use it. torch is imported only where an NVIDIA driver is found.

    Raises:
        ConfigurationError: an unknown device, or cuda asked for where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device == "cpu":
        return "cpu"
    if _has_nvidia_driver():
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if device == "cuda":
        raise ConfigurationError(
            "Expected a CUDA device, but torch finds none here; use --device cpu, or install a torch that fits the driver."
        )
    return "cpu"


def choose_runtime(
    runtime: str = "auto", device: str = "cpu", published: str | None = None
) -> tuple[str, Literal["bf16", "fp16", "fp32"]]:
    """The runtime and dtype that encode on this machine.

    "auto" is openvino on a CPU where it is installed, else eager. The dtype is bf16 where the hardware multiplies it (see
    `BF16_FLAGS`; CUDA capability 8.0 or above), else fp32; on a GPU that of the encoder's publisher comes before it.

    Args:
        runtime: a name of RUNTIMES, with ":fp32", ":bf16" or, on a GPU, ":fp16" appended where the dtype is not left to this.
        device: "cpu" or "cuda".
        published: the `precision` of the encoder's card.

    Raises:
        ConfigurationError: an unknown or missing runtime, or one that does not run on the device.
    """
    name, _, dtype = runtime.partition(":")
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    known = ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32", "bf16")
    if dtype and dtype not in known:
        raise unknown("dtype of a runtime", dtype, known)
    if name == "openvino":
        _require_openvino(device)
    if name == "auto":
        name = "openvino" if device == "cpu" and _has_openvino() else "eager"
    if device == "cuda" and not dtype and published in ("fp32", "fp16"):
        dtype = published
    if dtype == "fp32":
        return name, "fp32"
    if dtype == "fp16":
        return name, "fp16"
    fast = _cuda_has_bf16() if device == "cuda" else cpu_has_bf16()
    return name, "bf16" if fast or dtype == "bf16" else "fp32"


def choose_evaluation(runtime: str, device: str, published: str | None = None) -> str:
    """What computes the pooled output of a tuned backbone where nothing is learned, "openvino:bf16": see `choose_runtime`.

    Compiled means the training steps: another network every epoch is not worth compiling.
    """
    name, dtype = choose_runtime(runtime, device, published)
    return f"{'eager' if name == 'compiled' else name}:{dtype}"


def split_runtime(text: str) -> tuple[str, Literal["bf16", "fp16", "fp32"]]:
    """A runtime and its dtype, of "eager:fp32"."""
    name, _, dtype = text.partition(":")
    return name, "bf16" if dtype == "bf16" else "fp16" if dtype == "fp16" else "fp32"


def choose_precision(precision: str, profile: str, device: str) -> Literal["bf16", "fp32"]:
    """The arithmetic that methods train in; "auto" is bf16 for paper profiles on a GPU that multiplies it, else fp32."""
    if precision == "auto":
        return "bf16" if profile == "paper" and device == "cuda" and _cuda_has_bf16() else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def choose_steps(runtime: str, device: str, precision: str, backbone: str, passes: int) -> Literal["eager", "compiled"]:
    """How a backbone that a method trains is run in its training steps; `passes` counts those over a section.

    The runtimes "eager" and "compiled" are taken at their word. The others leave it to the machine: COMPILED_BACKBONES in
    fp32 on a CPU where `has_compiler` finds one, from COMPILE_FROM passes on. In bf16 compiling gains nothing there, and on
    a GPU it made ResNet-50's steps slower (docs/performance.md).
    """
    name = runtime.partition(":")[0]
    gains = device == "cpu" and precision == "fp32" and backbone in COMPILED_BACKBONES
    pays = name != "eager" and gains and passes >= COMPILE_FROM
    return "compiled" if name == "compiled" or (pays and has_compiler()) else "eager"


@cache
def has_compiler() -> bool:
    """Whether torch finds what it compiles for a CPU with: a C++ compiler and Python's headers; asked under Linux only."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return sys.platform == "linux" and shutil.which(os.environ.get("CXX") or "g++") is not None and headers.is_file()


def _require_openvino(device: str) -> None:
    if device != "cpu":
        raise ConfigurationError("The runtime openvino runs on the CPU only; use --device cpu or --runtime eager.")
    if not _has_openvino():
        raise ConfigurationError(
            "The runtime openvino is not installed; install it with `pip install 'qbench-spatial[cpu]'`, or use --runtime eager."
        )


@cache
def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _cuda_has_bf16() -> bool:
    import torch

    return torch.cuda.get_device_capability()[0] >= 8


@cache
def say_fp32(device: str) -> None:
    """That encoders run in fp32 for want of something faster; said once a process."""
    lacks = f"none of {', '.join(BF16_FLAGS)}" if device == "cpu" else "a CUDA capability below 8.0"
    _log.warning(
        "This machine has %s, so encoders run in fp32, which is slower than bf16 where that is in hardware.", lacks
    )


def _has_nvidia_driver() -> bool:
    if sys.platform == "linux":
        return (
            Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
        )
    return ctypes.util.find_library("nvcuda") is not None
