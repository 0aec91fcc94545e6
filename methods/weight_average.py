"""An average of a network's weights over epochs (Izmailov et al. 2018, with a fading past): steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class WeightAverage:
    """The average and the network that it is of.

    Attributes:
        state: the averaged weights and buffers by name, empty before the first epoch; what is no fraction is as it was
            last.
    """

    def __init__(self, network: nn.Module, past: float) -> None:
        self.state: dict[str, Tensor] = {}
        self._network, self._past = network, past

    @contextmanager
    def after_epoch(self) -> Iterator[None]:
        """Take in the weights as they are; inside, the network has the average, afterwards its own weights again."""
        last = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        for name, value in last.items():
            if name in self.state and value.is_floating_point():
                self.state[name] = self._past * self.state[name] + (1 - self._past) * value
            else:
                self.state[name] = value
        self._network.load_state_dict(self.state)
        try:
            yield
        finally:
            self._network.load_state_dict(last)
