"""A method that trains one network by mini-batches, on inputs that it reads of each side once and keeps in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ..datasets.cohort import Cohort, SealedSection
from .memory import memory_named
from .method import FitContext, Method
from .selection import validation_scores

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .training import TrainingParameters


@dataclass(frozen=True)
class Steps:
    """What `training.run` is to run over.

    Attributes:
        rows: number of what is shuffled and cut into batches.
        loss: as `run` takes it.
        parameters: of training.
        prepare: as `run` takes it.
    """

    rows: int
    loss: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]]
    parameters: TrainingParameters
    prepare: Callable[[Tensor], Any] | None = None


class NetworkMethod(Method):
    """Fitted in one order: scales of the training side, the network, the steps; validated and kept alike.

    Class attributes:
        hint: what to change where a side does not fit into memory; None names batch_size.
    """

    hint: ClassVar[str | None] = None
    network: nn.Module
    parameters: Any  # each method's own: of training

    @abstractmethod
    def _scale(self, train: Cohort, context: FitContext, device: torch.device) -> None:
        """Learn from the training side what stands before and behind the network."""

    @abstractmethod
    def _build(self) -> nn.Module:
        """A new network for `self.genes`, of what `_scale` learned or `_take` took."""

    @abstractmethod
    def _steps(self, train: Cohort, device: torch.device) -> Steps:
        """How `self.network`, on the device, is trained; it may be set to start somewhere."""

    @abstractmethod
    def _read(self, side: Cohort | SealedSection, device: torch.device) -> Any:
        """What `_predict` takes, of all spots of a side."""

    @abstractmethod
    def _predict(self, read: Any) -> NDArray[np.float32]:
        """(n, genes) in target space, unrounded, of what `_read` gave."""

    @abstractmethod
    def _kept(self) -> dict[str, NDArray[Any]]:
        """Arrays for `state` beside the network's, by names that no network has."""

    @abstractmethod
    def _take(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `_kept`; takes its arrays out of the dictionary."""

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from .training import run, seeded

        self.genes = train.genes
        device = torch.device(context.device)
        with seeded(context), self._named():
            self._scale(train, context, device)
            self.network = self._build().to(device)
            steps = self._steps(train, device)
            validate = None if validation is None else self._validator(validation, device)
            run(
                self.network,
                steps.rows,
                steps.loss,
                steps.parameters,
                context,
                validate=validate,
                prepare=steps.prepare,
                memory_hint=self.hint,
            )

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        from .images.sources import device_of

        with self._named():
            return self._predict(self._read(section, device_of(self.network)))

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from .network_arrays import to_arrays

        return {**to_arrays(self.network), **self._kept()}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from .network_arrays import from_arrays

        state = dict(state)
        self._take(state)
        self.network = self._build()
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _named(self) -> Any:
        return nullcontext() if self.hint is None else memory_named(self.hint)

    def _validator(self, validation: Cohort, device: torch.device) -> Callable[[], dict[str, float]]:
        kept = self._read(validation, device)
        return lambda: validation_scores(self._predict(kept), validation.target, validation.boundaries)
