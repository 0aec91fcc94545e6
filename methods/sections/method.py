"""A method whose network reads a whole section at once: spots, their array positions and, for graphs, their neighbours."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, MeasuredSection, SealedSection
from ...datasets.neighbours import Neighbours
from ...errors import MethodError
from ..memory import memory_named, stays_on
from ..method import FitContext, Inputs, Method
from ..scaling import Scaling
from ..selection import validation_scores

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Places:
    """Where the spots of a section are.

    Attributes:
        positions: int64 (n, 2), array x and y rounded to whole numbers.
        near: int64 (n, k), rows of the neighbours; share: float32 (n, k), of each in their mean, 0 where there is none.
            Both None for methods without a graph.
    """

    positions: Tensor
    near: Tensor | None = None
    share: Tensor | None = None

    def to(self, device: torch.device) -> Places:
        """The same on a device."""
        near, share = (None if values is None else values.to(device) for values in (self.near, self.share))
        return Places(self.positions.to(device), near, share)


class SectionMethod(Method):
    """Trained on one section after the other; it sees the pixels and positions of a whole test section, never expression.

    Class attributes:
        hint: what to change where a section does not fit into memory.
    """

    context: ClassVar[Literal["spot", "section"]] = "section"
    hint: ClassVar[str]
    network: nn.Module
    parameters: Any  # each method's own: of training, with inputs, patch_size, positions and start_at_mean

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(patches=True) if parameters.inputs == "pixels" else Inputs(encoders=("",))

    @abstractmethod
    def _build(self, width: int) -> nn.Module:
        """A new network for `self.genes`; `width` is that of the features, or the number of a patch's values."""

    @abstractmethod
    def _predict(self, spots: Tensor, places: Places) -> Tensor:
        """(n, genes) of a section on the device; spots are uint8 patches (n, h, w, 3) or z-scores float32 (n, d)."""

    @abstractmethod
    def _start(self, train: Cohort) -> None:
        """Set the last biases to what the training spots have in the mean."""

    def _truth(self, section: MeasuredSection) -> dict[str, Tensor]:
        """What `_loss` holds a prediction against, by name, on the host."""
        import torch

        return {"target": torch.from_numpy(np.asarray(section.target, dtype=np.float32))}

    def _loss(self, spots: Tensor, places: Places, truth: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one section, and figures to report of it."""
        return (self._predict(spots, places) - truth["target"]).square().mean(), {}

    def _graph(self, section: SealedSection) -> Neighbours | None:
        """The neighbours that the network reads; None for methods without a graph."""
        return None

    def _rate(self, epoch: int) -> float:
        """Share of the learning rate in an epoch, the first of which is 1."""
        return 1.0

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..training import run, seeded

        p = self.parameters
        self.genes = train.genes
        device = torch.device(context.device)
        self._scaling = Scaling.fit(train.features()) if p.inputs == "features" else None
        with seeded(context), memory_named(self.hint):
            self.network = self._build(self._width()).to(device)
            if p.start_at_mean:
                with torch.no_grad():
                    self._start(train)
            places = [self._places(section).to(device) for section in train.sections]
            kept = self._kept(train, device)
            truths = [{k: v.to(device) for k, v in self._truth(section).items()} for section in train.sections]

            def prepare(rows: Tensor) -> list[tuple[Tensor, Places, dict[str, Tensor]]]:
                return [
                    (self._pinned(train.sections[i], device) if kept is None else kept[i], places[i], truths[i])
                    for i in rows.tolist()
                ]

            def loss(batch: list[tuple[Tensor, Places, dict[str, Tensor]]]) -> tuple[Tensor, Mapping[str, Tensor]]:
                found = [self._loss(spots.to(device, non_blocking=True), where, truth) for spots, where, truth in batch]
                figures = {name: torch.stack([own[name] for _, own in found]).mean() for name in found[0][1]}
                return torch.stack([value for value, _ in found]).mean(), figures

            validate = None if validation is None else self._validator(validation)
            run(
                self.network,
                len(train.sections),
                loss,
                p,
                context,
                validate=validate,
                prepare=prepare,
                rate=self._rate,
                memory_hint=self.hint,
            )

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of

        device = device_of(self.network)
        self.network.eval()
        with torch.inference_mode(), memory_named(self.hint):
            out = self._predict(self._spots(section).to(device), self._places(section).to(device))
        return np.asarray(out.float().cpu().numpy(), dtype=np.float32)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        scaling = {} if self._scaling is None else {"image.mean": self._scaling.mean, "image.sd": self._scaling.sd}
        return {**to_arrays(self.network), **scaling}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from ..network_arrays import from_arrays

        state = dict(state)
        self._scaling = Scaling(state.pop("image.mean"), state.pop("image.sd")) if "image.mean" in state else None
        self.network = self._build(self._width())
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _width(self) -> int:
        return 3 * self.parameters.patch_size**2 if self._scaling is None else len(self._scaling.mean)

    def _spots(self, section: SealedSection) -> Tensor:
        """uint8 patches (n, h, w, 3), or z-scored features float32 (n, d), on the host."""
        import torch

        if self._scaling is not None:
            return torch.from_numpy(self._scaling.apply(np.asarray(section.features())).astype(np.float32))
        patches = section.patches()
        if min(patches.shape[1:3]) < self.parameters.patch_size:
            raise MethodError(
                f"Section {section.id}: expected patches of at least {self.parameters.patch_size} px, found "
                f"{patches.shape[1]}; set patch_size={patches.shape[1]}."
            )
        return torch.from_numpy(np.asarray(patches))

    def _kept(self, train: Cohort, device: torch.device) -> list[Tensor] | None:
        """Every section's input on the device: features always, scaled once; pixels where a GPU holds them all, else None.

        Pixels that are not kept are read again in every epoch, a section at a time.
        """
        if self._scaling is None and not stays_on(device, math.prod(train.patches().shape)):
            return None
        return [self._spots(section).to(device) for section in train.sections]

    def _pinned(self, section: SealedSection, device: torch.device) -> Tensor:
        """What `_spots` gives, so that it travels to a GPU while that computes."""
        spots = self._spots(section)
        return spots.pin_memory() if device.type == "cuda" else spots

    def _places(self, section: SealedSection) -> Places:
        """Positions and neighbours, on the host.

        Raises:
            MethodError: a position outside the table.
        """
        import torch

        rounded = np.rint(section.array_xy).astype(np.int64)
        if len(rounded) and (rounded.min() < 0 or rounded.max() >= self.parameters.positions):
            raise MethodError(
                f"Section {section.id}: expected array positions from 0 to {self.parameters.positions - 1}, found "
                f"{rounded.min()} to {rounded.max()}; set {self.name}[positions={max(rounded.max(), 0) + 1}]."
            )
        positions = torch.from_numpy(rounded)
        found = self._graph(section)
        if found is None:
            return Places(positions)
        share = (found.present / found.present.sum(axis=1, keepdims=True)).astype(np.float32)
        return Places(positions, torch.from_numpy(found.index), torch.from_numpy(share))

    def _validator(self, validation: Cohort) -> Callable[[], dict[str, float]]:
        def validate() -> dict[str, float]:
            predicted = np.concatenate([self.predict(section) for section in validation.sections])
            return validation_scores(predicted, validation.target, validation.boundaries)

        return validate
