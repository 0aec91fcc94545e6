"""What fits into memory: a batch that does not becomes one sentence, and a side's pixels stay on a GPU where they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import MethodError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RESIDENT = 0.25  # of a GPU's free memory that pixels may take: activations need the rest, and so do other cells
_SAYS = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")  # torch, its host allocator, cuDNN and cuBLAS
_GPU = re.compile(
    r"(CUDA out of memory)\. (Tried to allocate [\d.]+ \w+)\. (?:GPU \d+ has a total capacity of ([\d.]+ \w+))?"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the host or on a device."""
    return isinstance(error, MemoryError) or any(said in str(error) for said in _SAYS)


@contextmanager
def memory_named(hint: str, what: str = "A batch") -> Iterator[None]:
    """An allocation that fails inside becomes a MethodError that ends in `hint`, the option to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MethodError(f"{what} does not fit into memory ({_reason(str(error))}); {hint}.") from error


def _reason(text: str) -> str:
    """The first line of an allocator's message; of CUDA's, which is a paragraph, what was asked for and of how much."""
    if (found := _GPU.search(text)) is not None:
        of = f", of a GPU's {found[3]}" if found[3] else ""
        return f"{found[1]}: {found[2][0].lower()}{found[2][1:]}{of}"
    return (text or "of the host").splitlines()[0]


def stays_on(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of pixels are kept on the device while they are used: on a GPU, up to `RESIDENT` of what is free."""
    if device.type != "cuda":
        return False
    import torch

    return size <= RESIDENT * torch.cuda.mem_get_info(device)[0]


@contextmanager
def host_memory_watched(device: torch.device) -> Iterator[None]:
    """Raise MemoryError once a forward pass on the CPU keeps more for its backward pass than is free.

    The system would grant the memory and kill the process on use, so what autograd saves is counted as it is saved.
    """
    if device.type != "cpu":
        yield
        return
    import psutil
    from torch.autograd.graph import saved_tensors_hooks

    free = psutil.virtual_memory().available
    seen: dict[int, int] = {}
    kept = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal kept
        storage = saved.untyped_storage()
        if seen.get(storage.data_ptr(), 0) < storage.nbytes():
            kept += storage.nbytes() - seen.get(storage.data_ptr(), 0)
            seen[storage.data_ptr()] = storage.nbytes()
        if kept > free:
            raise MemoryError(f"more than the {free / 2**30:.1f} GiB that are free")
        return saved

    with saved_tensors_hooks(count, lambda saved: saved):
        yield
