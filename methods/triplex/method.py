"""TRIPLEX (Chung et al., CVPR 2024; NEXGEM/TRIPLEX): the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...datasets.views import Views
from ...errors import MethodError
from ..method import FitContext, Inputs
from ..network_method import NetworkMethod, Steps
from ..reduced import Reduced
from .parameters import TriplexParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..images.side import ImageSide
    from ..images.sources import ImageSource
    from .network import Outputs, TriplexNetwork

CELLS = 4_000_000  # of the grid that a section's array positions span, at most
ROWS = 128  # spots predicted at once


@dataclass(frozen=True)
class Spots:
    """What the branches read of one section, on the host: float32 (n, c), (n, views, c), bool (n, views), int64 (n, 2)."""

    own: Tensor
    views: Tensor
    present: Tensor
    places: Tensor


class Triplex(NetworkMethod):
    """Four mean squared errors: of the fused prediction, and of each branch, which is drawn to the fused one too.

    It sees the whole test section (`context` is "section"): each spot's patch, 5 x 5 windows around it, and the features
    and places of all spots; never expression. Places are array coordinates rounded to whole numbers.
    """

    name = "triplex"
    version = 3
    hint = "triplex reads a whole section at once: set a smaller dim, or by_section=false with a smaller batch_size"
    context: ClassVar[Literal["spot", "section"]] = "section"
    Parameters = TriplexParameters
    parameters: TriplexParameters
    network: TriplexNetwork

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)
        p = self.parameters
        for what in ("neighbour_heads", "global_heads", "fusion_heads"):
            if p.dim % getattr(p, what):
                raise MethodError(
                    f"triplex: expected {what} to divide dim={p.dim}, found {getattr(p, what)}; change one."
                )

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        views = (Views(parameters.grid),)
        tuned = _tuned(parameters)
        return Inputs(encoders=("",), patches=tuned is not None, backbone=tuned, views=views)

    @override
    def _scale(self, train: Cohort, context: FitContext, device: torch.device) -> None:
        tuned = _tuned(self.parameters)
        self._reduced = Reduced.fit(train.features(), self.parameters.components)
        self._image: ImageSide | None = None
        self._backbone: nn.Module | None = None
        if tuned is not None:
            from ..images.side import ImageSide  # of networks and the hub: half a second, for nothing on features

            self._image = ImageSide.of(train, tuned)
            self._backbone = self._image.build_backbone(context.backbone, context.seed)

    @override
    def _build(self) -> TriplexNetwork:
        from .network import TriplexNetwork

        width, backbone = self._reduced.width, self._backbone
        target = width if backbone is None else int(backbone.num_features)  # type: ignore[arg-type]
        return TriplexNetwork(len(self.genes), target, width, self.parameters, backbone)

    @override
    def _steps(self, train: Cohort, device: torch.device) -> Steps:
        import torch

        from .network import Outputs, initialise, losses

        p, network = self.parameters, self.network
        target = torch.from_numpy(np.asarray(train.target)).to(device)
        if p.start_at_mean:
            initialise(network, target.mean(dim=0))
        sections = [self._spots(section) for section in train.sections]
        starts = torch.from_numpy(train.boundaries)
        patches = None if self._image is None else self._image.source(train, device)

        def prepare(rows: Tensor) -> tuple[Tensor, Tensor | None]:
            if p.by_section:
                rows = torch.cat([torch.arange(int(starts[i]), int(starts[i + 1])) for i in rows.sort().values])
            rows = rows.sort().values
            return rows, None if patches is None else patches.prepare(rows)

        def loss(batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Mapping[str, Tensor]]:
            rows, pixels = batch
            part = torch.searchsorted(starts, rows, right=True) - 1
            images = None if patches is None or pixels is None else patches.ready(pixels, training=True)
            seen, whole, done = [], [], 0
            for i in part.unique().tolist():  # sections
                local = rows[part == i] - starts[i]
                taken = None if images is None else images[done : done + len(local)]
                done += len(local)
                seen.append(self._inputs_of(sections[i], local, device, taken))
                whole.append(self._whole(sections[i], device)[local.to(device)])
            joint = [torch.cat(values) for values in zip(*seen, strict=True)]
            outputs = network(network.tokens(joint[0]), joint[1], joint[2], torch.cat(whole))
            if p.clamp:
                outputs = Outputs(*(output.clamp(min=0) for output in outputs))
            terms = losses(outputs, target[rows.to(device)], p.distillation)
            return torch.stack(list(terms.values())).sum(), {f"loss_{name}": value for name, value in terms.items()}

        return Steps(len(train.sections) if p.by_section else len(train), loss, p, prepare)

    @override
    def _kept(self) -> dict[str, NDArray[Any]]:
        return {**self._reduced.state(), **({} if self._image is None else self._image.state())}

    @override
    def _take(self, state: dict[str, NDArray[Any]]) -> None:
        tuned = _tuned(self.parameters)
        self._reduced = Reduced.restore(state)
        self._image = self._backbone = None
        if tuned is not None:
            from ..images.side import ImageSide

            self._image = ImageSide.restore(state, tuned)
            self._backbone = self._image.build_backbone("random")

    @override
    def _read(self, side: Cohort | SealedSection, device: torch.device) -> list[tuple[Spots, ImageSource | None]]:
        sections = side.sections if isinstance(side, Cohort) else (side,)
        return [
            (self._spots(section), None if self._image is None else self._image.source(section, device))
            for section in sections
        ]

    @override
    def _predict(self, read: list[tuple[Spots, ImageSource | None]]) -> NDArray[np.float32]:
        return np.concatenate([self._predicted(spots, patches) for spots, patches in read])

    def _spots(self, section: SealedSection) -> Spots:
        """What the branches read of a section.

        Raises:
            MethodError: array positions that are no places on an array.
        """
        import torch

        views = section.views(Views(self.parameters.grid))
        places = np.rint(section.array_xy).astype(np.int64)
        width, height = places.max(axis=0) - places.min(axis=0) + 1
        if width * height > CELLS:
            raise MethodError(
                f"Section {section.id}: expected array positions in pitches, found a grid of {width} x {height} for "
                f"{section.n_spots} spots; give array coordinates, not pixels."
            )
        there = [np.isfinite(views[start : start + ROWS][:, :, 0]) for start in range(0, len(views), ROWS)]
        return Spots(
            own=torch.from_numpy(self._reduced.read(section.features())),
            views=torch.from_numpy(self._reduced.read(views)),
            present=torch.from_numpy(np.concatenate(there)),
            places=torch.from_numpy(places),
        )

    @staticmethod
    def _inputs_of(spots: Spots, rows: Tensor, device: torch.device, images: Tensor | None) -> tuple[Tensor, ...]:
        own = spots.own[rows].to(device) if images is None else images
        return own, spots.views[rows].to(device), spots.present[rows].to(device)

    def _whole(self, spots: Spots, device: torch.device) -> Tensor:
        whole: Tensor = self.network.whole_section(spots.own.to(device), spots.places.to(device))
        return whole

    def _predicted(self, spots: Spots, patches: ImageSource | None) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of

        network, device = self.network, device_of(self.network)
        network.eval()
        with torch.inference_mode():
            whole = self._whole(spots, device)
            parts = []
            for rows in torch.arange(len(spots.own)).split(ROWS if patches is None else patches.forward_batch):
                images = None if patches is None else patches.ready(patches.prepare(rows), training=False)
                own, views, present = self._inputs_of(spots, rows, device, images)
                outputs: Outputs = network(network.tokens(own), views, present, whole[rows.to(device)])
                parts.append(outputs.fused.float().cpu())
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def _tuned(parameters: Any) -> str | None:
    """The backbone that is trained, or None on frozen features."""
    return str(parameters.backbone) if parameters.image_encoder == "finetune" else None
