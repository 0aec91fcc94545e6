"""Intermediate values of large sections, which are computed again for the gradients instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

KEPT = 1024  # spots whose patches' values are kept; sections of HER2ST have up to 712


def recomputed(large: bool, modules: nn.Module, function: Callable[..., Any], *inputs: Tensor) -> Any:
    """function(*inputs), of which, in training on a large section, nothing but its inputs is kept.

    The gradients are those of the function itself: dropout draws the same again, and what batch norms remember of a section
    is taken in once.

    Args:
        large: whether the section is.
        modules: what the function calls.
        function: of tensors.
        inputs: its arguments.
    """
    if not large or not modules.training:
        return function(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _remembering_nothing(modules)

    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _remembering_nothing(modules: nn.Module) -> Iterator[None]:
    """Batch norms normalise by the batch, and what they know of former ones stays as it is."""
    norms = [m for m in modules.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def over_section(block: nn.Module, x: Tensor) -> Tensor:
    """A block of sequences (b, n, dim) on the spots (n, dim) of one section."""
    out: Tensor = block(x[None])[0]
    return out
