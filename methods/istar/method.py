"""iStar (Zhang et al., Nat Biotechnol 2024; daviddaiweizhang/istar): the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...datasets.tiles import Surroundings
from ...datasets.views import Views
from ..disk import disk_cells
from ..method import FitContext, Inputs
from ..network_method import NetworkMethod, Steps
from ..reduced import Reduced
from .parameters import IStarParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..encoders.hipt import Hipt
    from ..images.side import ImageSide
    from .network import IStarNetwork
    from .tokens import CellReader

BACKBONE, TILE, CELL = "hipt", 256, 16  # its tiles and cells, px
VALUES = 50_000_000  # that are predicted at once, at most
SMALLEST_STEP = 16  # the published batch is a sixteenth of the spots, at most 128


class IStar(NetworkMethod):
    """Weak supervision: the mean over a spot's disk of what networks predict of its cells is held against the spot.

    Expression is read as a share of each gene's range over the training spots, which is part of the model.
    """

    name = "istar"
    version = 1
    Parameters = IStarParameters
    parameters: IStarParameters
    network: IStarNetwork

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        if parameters.features == "hipt":
            return Inputs(patches=True, backbone=BACKBONE, surroundings=Surroundings(TILE, parameters.surroundings))
        return Inputs(encoders=("",), views=(Views(parameters.parts, inside=True),))

    @classmethod
    @override
    def fine_inputs(cls, parameters: Any) -> Inputs | None:
        if parameters.features == "hipt":
            return cls.inputs(parameters)
        return Inputs(encoders=("",), views=(Views(parameters.parts, inside=True, centre=True),))

    @override
    def _scale(self, train: Cohort, context: FitContext, device: torch.device) -> None:
        from ..images.side import ImageSide
        from .tokens import CellReader

        self._low: NDArray[np.float32] = train.target.min(axis=0)
        self._range: NDArray[np.float32] = train.target.max(axis=0) - self._low
        self._reduced: Reduced | None = None
        self._image: ImageSide | None = None
        self._hipt: CellReader | None = None
        if self.parameters.features == "hipt":
            self._image = ImageSide.of(train, BACKBONE)
            hipt = cast("Hipt", self._image.build_backbone(context.backbone, context.seed))
            self._hipt = CellReader(hipt.to(device).requires_grad_(False), self.parameters.surroundings)
        else:
            self._reduced = Reduced.fit(train.features(), self.parameters.components)

    @override
    def _steps(self, train: Cohort, device: torch.device) -> Steps:
        import torch

        from ..memory import stays_on
        from .network import spot_loss, start_at

        p, network = self.parameters, self.network
        shares = (train.target - self._low) / np.where(self._range > 0, self._range, 1)
        target = torch.from_numpy(shares.astype(np.float32))
        cells, weight = self._read(train, device)
        if stays_on(device, cells.nbytes):
            cells, target = cells.to(device), target.to(device)
        if p.start_at_mean:
            start_at(network, target.mean(dim=0).to(device))

        def loss(rows: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
            rows = rows.to(cells.device, non_blocking=True)
            return spot_loss(network(cells[rows].to(device)), weight, target[rows].to(device)), {}

        size = max(1, min(p.batch_size, len(train) // SMALLEST_STEP))
        return Steps(len(train), loss, p.model_copy(update={"batch_size": size}))

    @override
    def predict_fine(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of

        device = device_of(self.network)
        if self._hipt is not None:
            cells = self._tokens(section, 1, np.zeros(1, dtype=np.intp))  # the cell that the point lies in
        else:
            cells = self._levels(section, Views(self.parameters.parts, inside=True, centre=True))
        return self._predict((cells, torch.ones(1, device=device)))

    @override
    def to(self, device: str) -> None:
        super().to(device)
        if self._hipt is not None:
            self._hipt.hipt.to(device)

    @override
    def _kept(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        arrays: dict[str, NDArray[Any]] = {"target.low": self._low, "target.range": self._range}
        if self._reduced is not None:
            arrays |= self._reduced.state()
        if self._hipt is not None and self._image is not None:
            arrays |= self._image.state()
            arrays |= {f"hipt.{name}": values for name, values in to_arrays(self._hipt.hipt).items()}
        return arrays

    @override
    def _take(self, state: dict[str, NDArray[Any]]) -> None:
        from ..images.side import ImageSide
        from ..network_arrays import from_arrays
        from .tokens import CellReader

        self._low, self._range = state.pop("target.low"), state.pop("target.range")
        self._reduced, self._image, self._hipt = None, None, None
        if self.parameters.features == "hipt":
            self._image = ImageSide.restore(state, BACKBONE)
            hipt = cast("Hipt", self._image.build_backbone("random"))
            own = [name for name in state if name.startswith("hipt.")]
            from_arrays(hipt, {name.removeprefix("hipt."): state.pop(name) for name in own})
            self._hipt = CellReader(hipt, self.parameters.surroundings)
        else:
            self._reduced = Reduced.restore(state)

    @property
    def _edge(self) -> int:
        """Cells along a patch's edge."""
        if self._hipt is None or self._image is None:
            return int(self.parameters.parts)
        return self._image.patch_size // CELL

    @override
    def _build(self) -> IStarNetwork:
        from ..encoders.hipt import WIDTH
        from .network import IStarNetwork

        p = self.parameters
        inputs = WIDTH if self._reduced is None else 2 * self._reduced.width
        return IStarNetwork(len(self.genes), inputs, width=p.width, depth=p.depth, copies=p.copies)

    def _disk(self, device: torch.device) -> tuple[NDArray[np.intp], Tensor]:
        import torch

        index, weight = disk_cells(self._edge, self.parameters.disk, self._hipt is not None, self.name)
        return index, torch.from_numpy(weight).to(device)

    @override
    def _read(self, side: Cohort | SealedSection, device: torch.device) -> tuple[Tensor, Tensor]:
        index, weight = self._disk(device)  # the cells of each spot's disk, float32 (n, cells, inputs), on the host
        if self._hipt is not None:
            return self._tokens(side, self._edge, index), weight
        return self._levels(side, Views(self.parameters.parts, inside=True), index), weight

    def _levels(
        self, side: Cohort | SealedSection, views: Views, index: NDArray[np.intp] | slice = slice(None)
    ) -> Tensor:
        """Parts and, for all parts of a spot the same, the whole patch, beside each other."""
        import torch

        assert self._reduced is not None
        parts = self._reduced.read(side.views(views))[:, index]
        own = np.broadcast_to(self._reduced.read(side.features())[:, None], parts.shape)
        return torch.from_numpy(np.concatenate([parts, own], axis=2))

    def _tokens(self, side: Cohort | SealedSection, edge: int, index: NDArray[np.intp]) -> Tensor:
        """Cells of each spot's patch of edge x edge, section by section."""
        import torch

        assert self._hipt is not None
        around = Surroundings(TILE, self.parameters.surroundings)
        sections = side.sections if isinstance(side, Cohort) else (side,)
        parts = [torch.from_numpy(self._hipt.read(section.tiles(around), edge, index)) for section in sections]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @override
    def _predict(self, read: tuple[Tensor, Tensor]) -> NDArray[np.float32]:
        import torch

        cells, weight = read  # the mean over the cells by weight of the median of the networks
        network = self.network
        network.eval()
        rows = max(1, VALUES // (network.copies * cells.shape[1] * len(self.genes)))
        with torch.inference_mode():
            out = [
                torch.einsum("ncg,c->ng", network.median(block.to(weight.device)), weight).cpu()
                for block in cells.split(rows)
            ]
        return np.asarray(torch.cat(out).numpy() * self._range + self._low, dtype=np.float32)
