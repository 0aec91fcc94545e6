"""Where a training stands: the best state so far, and what a checkpoint holds to go on from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import read_checkpoint, write_checkpoint
from .method import FitContext
from .selection import to_minimise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .weight_average import WeightAverage


class Progress:
    """The epoch that was reached and the best one on validation, of a network that is trained in place."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        context: FitContext,
        averaged: WeightAverage | None,
    ) -> None:
        self._averaged = averaged
        self._network, self._optimiser, self._generator, self._context = network, optimiser, generator, context
        self.epoch = 0
        self.best_epoch = 0
        self.stopped = False
        self._best = math.inf
        self._state: dict[str, Tensor] = {}

    def note(self, epoch: int, figures: dict[str, float], validated: bool) -> None:
        """An epoch has ended; its state is kept where it is the best on validation so far."""
        self.epoch = epoch
        figure = to_minimise(figures, self._context.select) if validated else -epoch
        if not validated and self._averaged is None:
            self.best_epoch = epoch
        elif figure < self._best or not self._state:
            self._best, self.best_epoch = figure, epoch
            self._state = {k: v.detach().clone() for k, v in self._network.state_dict().items()}

    def restore_best(self) -> None:
        """The network in the state of its best epoch; the last one where there was no validation."""
        if self._state:
            self._network.load_state_dict(self._state)
        self._context.selected_epoch = self.best_epoch or None

    def save(self, directory: Path) -> None:
        """Write a checkpoint."""
        import torch

        cuda = torch.device(self._context.device).type == "cuda"
        write_checkpoint(
            directory,
            {
                "epoch": self.epoch,
                "best_epoch": self.best_epoch,
                "best": self._best,
                "stopped": self.stopped,
                "state": self._state,
                "network": self._network.state_dict(),
                "average": self._averaged.state if self._averaged else {},
                "optimiser": self._optimiser.state_dict(),
                "order": self._generator.get_state(),
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state() if cuda else None,
                "history": self._context.history,
                "warnings": self._context.warnings,
            },
        )

    def resume(self) -> bool:
        """Take up a checkpoint where there is one; returns whether it had stopped."""
        import torch

        directory = self._context.directory
        found = None if directory is None else read_checkpoint(directory, self._context)
        if found is None:
            return False
        self.epoch, self.best_epoch, self.stopped = found["epoch"], found["best_epoch"], found["stopped"]
        self._best = found["best"]
        self._network.load_state_dict(found["network"])
        device = next(self._network.parameters()).device
        self._state = {k: v.to(device) for k, v in found["state"].items()}
        if self._averaged:
            self._averaged.state = {k: v.to(device) for k, v in found["average"].items()}
        self._optimiser.load_state_dict(found["optimiser"])
        self._generator.set_state(found["order"])
        torch.set_rng_state(found["random"])
        if found["random_cuda"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(found["random_cuda"])
        self._context.history[:] = found["history"]
        self._context.warnings[:] = found["warnings"]
        return bool(self.stopped)
