"""torch.compile, for encoders and for the training steps of a backbone: torch's own machine code instead of its interpreter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MethodError
from .memory import is_out_of_memory


def compiled(function: Any, **options: Any) -> Any:
    """torch.compile for one shape."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of a CUDA_HOME without a GPU
    return torch.compile(function, dynamic=False, **options)


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """A machine that cannot compile becomes a MethodError; memory that runs out inside does not."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except (TorchDynamoException, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MethodError(
            f"{what} cannot be compiled on this machine ({reason}); a C++ compiler is needed, or use --runtime eager."
        ) from error


def compile_steps(backbone: nn.Module, rows: int) -> None:
    """Run the backbone compiled in training, for batches of `rows` images; other batches, and inference, stay as they are.

    Another size would have to be compiled too, which for a last batch or an evaluation takes longer than it saves.
    """
    torch.compiler.reset()  # torch gives up, with a warning only, on a function that a process compiled eight times
    eager: Callable[[Tensor], Tensor] = backbone.forward
    fast = compiled(eager)

    def forward(x: Tensor) -> Tensor:
        if not backbone.training or len(x) != rows:
            return eager(x)
        with compiling("The backbone's training step"):
            found: Tensor = fast(x)
        return found

    backbone.forward = forward
