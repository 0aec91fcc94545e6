"""A batch that does not fit into memory becomes one sentence, before the system ends the process without any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import MethodError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@contextmanager
def memory_named(hint: str) -> Iterator[None]:
    """An allocation that fails inside becomes a MethodError that ends in `hint`, the option to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not (isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text):
            raise
        raise MethodError(
            f"A batch does not fit into memory ({(text or 'of the host').splitlines()[0]}); {hint}."
        ) from error


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
