"""The weights of a torch network as arrays, in which methods keep their state, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MethodError

if TYPE_CHECKING:
    from torch import nn


def to_arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    """A network's weights and buffers as float32 or integer arrays, for `Method.state`."""
    return {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in network.state_dict().items()}


def from_arrays(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The inverse of `to_arrays`, strictly.

    Raises:
        MethodError: arrays that do not fit the network.
    """
    import torch

    try:
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
    except RuntimeError as error:
        raise MethodError(
            f"Expected weights of this method's network, but {' '.join(str(error).split())}; fit or convert it again."
        ) from error
    network.eval()
