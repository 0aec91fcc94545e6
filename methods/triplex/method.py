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
from ..memory import memory_named
from ..method import FitContext, Inputs, Method
from ..reduced import Reduced
from ..selection import validation_scores
from .parameters import TriplexParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..images.side import ImageSide
    from ..images.sources import ImageSource
    from .network import Outputs, TriplexNetwork

MEMORY = "triplex reads a whole section at once: set a smaller dim, or by_section=false with a smaller batch_size"
CELLS = 4_000_000  # of the grid that a section's array positions span, at most
ROWS = 128  # spots predicted at once


@dataclass(frozen=True)
class Spots:
    """What the branches read of one section, on the host: float32 (n, c), (n, views, c), bool (n, views), int64 (n, 2)."""

    own: Tensor
    views: Tensor
    present: Tensor
    places: Tensor


class Triplex(Method):
    """Four mean squared errors: of the fused prediction, and of each branch, which is drawn to the fused one too.

    It sees the whole test section (`context` is "section"): each spot's patch, 5 x 5 windows around it, and the features
    and places of all spots; never expression. Places are array coordinates rounded to whole numbers.
    """

    name = "triplex"
    version = 2
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
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..images.side import ImageSide
        from ..training import run, seeded
        from .network import Outputs, initialise, losses

        p = self.parameters
        self.genes = train.genes
        device = torch.device(context.device)
        tuned = _tuned(p)
        with seeded(context):
            self._reduced = Reduced.fit(train.features(), p.components)
            self._image: ImageSide | None = None if tuned is None else ImageSide.of(train, tuned)
            backbone = None if self._image is None else self._image.build_backbone(context.backbone, context.seed)
            self.network = network = self._build(backbone).to(device)
            target = torch.from_numpy(np.asarray(train.target)).to(device)
            if p.start_at_mean:
                initialise(network, target.mean(dim=0))
            sections = [self._read(section) for section in train.sections]
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

            validate = None if validation is None else self._validator(validation, device)
            units = len(train.sections) if p.by_section else len(train)
            with memory_named(MEMORY):
                run(network, units, loss, p, context, validate=validate, prepare=prepare, memory_hint=MEMORY)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        from ..images.sources import device_of

        device = device_of(self.network)
        with memory_named(MEMORY):
            return self._predict(self._read(section), self._patches(section, device), device)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        image = {} if self._image is None else self._image.state()
        return {**to_arrays(self.network), **self._reduced.state(), **image}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from ..images.side import ImageSide
        from ..network_arrays import from_arrays

        state = dict(state)
        tuned = _tuned(self.parameters)
        self._reduced = Reduced.restore(state)
        self._image = None if tuned is None else ImageSide.restore(state, tuned)
        self.network = self._build(None if self._image is None else self._image.build_backbone("random"))
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _build(self, backbone: nn.Module | None) -> TriplexNetwork:
        from .network import TriplexNetwork

        width = self._reduced.width
        target = width if backbone is None else int(backbone.num_features)  # type: ignore[arg-type]
        return TriplexNetwork(len(self.genes), target, width, self.parameters, backbone)

    def _read(self, section: SealedSection) -> Spots:
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

    def _patches(self, side: Cohort | SealedSection, device: torch.device) -> ImageSource | None:
        return None if self._image is None else self._image.source(side, device)

    @staticmethod
    def _inputs_of(spots: Spots, rows: Tensor, device: torch.device, images: Tensor | None) -> tuple[Tensor, ...]:
        own = spots.own[rows].to(device) if images is None else images
        return own, spots.views[rows].to(device), spots.present[rows].to(device)

    def _whole(self, spots: Spots, device: torch.device) -> Tensor:
        whole: Tensor = self.network.whole_section(spots.own.to(device), spots.places.to(device))
        return whole

    def _predict(self, spots: Spots, patches: ImageSource | None, device: torch.device) -> NDArray[np.float32]:
        import torch

        network = self.network
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

    def _validator(self, validation: Cohort, device: torch.device) -> Any:
        kept = [(self._read(section), self._patches(section, device)) for section in validation.sections]

        def validate() -> dict[str, float]:
            predicted = np.concatenate([self._predict(spots, patches, device) for spots, patches in kept])
            return validation_scores(predicted, validation.target, validation.boundaries)

        return validate


def _tuned(parameters: Any) -> str | None:
    """The backbone that is trained, or None on frozen features."""
    return str(parameters.backbone) if parameters.image_encoder == "finetune" else None
