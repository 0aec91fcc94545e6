"""HisToGene (Pang, Su, Li 2021; maxpmx/HisToGene): a transformer that reads a whole section at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ..memory import memory_named
from ..method import FitContext, Inputs, Method
from ..scaling import Scaling
from ..selection import validation_scores
from ..training import TrainingParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .network import HisToGeneNetwork

MEMORY = "histogene reads a whole section at once: set patch_size=112, a smaller dim or inputs=features"


class HisToGeneParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/histogene.yaml; the defaults are those of a direct call."""

    inputs: Literal["features", "pixels"] = Field(
        "features", description="Frozen features of each spot, or the pixels of its patch, 0..255."
    )
    patch_size: int = Field(112, ge=8, le=1024, description="Edge of the patch's middle that inputs=pixels reads.")
    dim: int = Field(256, ge=8, le=8192, description="Width of the sequence.")
    depth: int = Field(4, ge=1, le=64, description="Transformer blocks.")
    heads: int = Field(4, ge=1, le=128, description="Attention heads in each.")
    head_dim: int = Field(64, ge=1, le=1024, description="Width of a head.")
    mlp: int = Field(512, ge=8, le=32_768, description="Width of each block's hidden layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout after the embedding and in the blocks.")
    positions: int = Field(
        64, ge=1, le=65_536, description="Rows of each position table; array x and y must lie below."
    )
    start_at_mean: bool = Field(True, description="The head's bias starts at the training mean.")


class HisToGene(Method):
    """Mean squared error regression of all spots of a section together; spots attend to one another.

    It sees the whole test section (`context` is "section"), pixels and positions, never expression. Array coordinates
    are rounded to whole numbers, as published.
    """

    name = "histogene"
    version = 2
    context: ClassVar[Literal["spot", "section"]] = "section"
    Parameters = HisToGeneParameters
    network: HisToGeneNetwork

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(patches=True) if parameters.inputs == "pixels" else Inputs(encoders=("",))

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..training import run, seeded

        p = self.parameters
        self.genes = train.genes
        device = torch.device(context.device)
        self._scaling = Scaling.fit(train.features()) if p.inputs == "features" else None
        with seeded(context):
            self.network = network = self._build().to(device)
            if p.start_at_mean:
                with torch.no_grad():
                    network.head.bias.copy_(torch.from_numpy(train.target.mean(axis=0, dtype=np.float64)))
            positions = [self._positions(section) for section in train.sections]
            # Features are scaled once and kept; patches are read again in every epoch, a section at a time.
            kept = [self._spots(section) for section in train.sections] if p.inputs == "features" else None
            targets = [torch.from_numpy(np.asarray(s.target, dtype=np.float32)) for s in train.sections]

            def prepare(rows: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
                with memory_named(MEMORY):
                    return [
                        (self._spots(train.sections[i]) if kept is None else kept[i], positions[i], targets[i])
                        for i in rows.tolist()
                    ]

            def loss(batch: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Mapping[str, Tensor]]:
                errors = [
                    (network(self._ready(spots, device)[None], where[None].to(device))[0] - y.to(device))
                    .square()
                    .mean()
                    for spots, where, y in batch
                ]
                return torch.stack(errors).mean(), {}

            validate = None if validation is None else self._validator(validation)
            with memory_named(MEMORY):
                run(
                    network,
                    len(train.sections),
                    loss,
                    p,
                    context,
                    validate=validate,
                    prepare=prepare,
                    memory_hint=MEMORY,
                )

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of

        device = device_of(self.network)
        self.network.eval()
        with torch.inference_mode(), memory_named(MEMORY):
            spots = self._ready(self._spots(section), device)
            out = self.network(spots[None], self._positions(section)[None].to(device))[0]
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
        self.network = self._build()
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _build(self) -> HisToGeneNetwork:
        from .network import HisToGeneNetwork

        p = self.parameters
        inputs = 3 * p.patch_size**2 if self._scaling is None else len(self._scaling.mean)
        return HisToGeneNetwork(
            len(self.genes),
            inputs,
            dim=p.dim,
            depth=p.depth,
            heads=p.heads,
            head_dim=p.head_dim,
            mlp=p.mlp,
            dropout=p.dropout,
            positions=p.positions,
        )

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

    def _ready(self, spots: Tensor, device: torch.device) -> Tensor:
        from .network import flatten_patches

        spots = spots.to(device, non_blocking=True)
        return spots if self._scaling is not None else flatten_patches(spots, self.parameters.patch_size)

    def _positions(self, section: SealedSection) -> Tensor:
        """Array x and y rounded to whole numbers, int64 (n, 2).

        Raises:
            MethodError: a position outside the table.
        """
        import torch

        rounded = np.rint(section.array_xy).astype(np.int64)
        if len(rounded) and (rounded.min() < 0 or rounded.max() >= self.parameters.positions):
            raise MethodError(
                f"Section {section.id}: expected array positions from 0 to {self.parameters.positions - 1}, found "
                f"{rounded.min()} to {rounded.max()}; set histogene[positions={max(rounded.max(), 0) + 1}]."
            )
        return torch.from_numpy(rounded)

    def _validator(self, validation: Cohort) -> Callable[[], dict[str, float]]:
        def validate() -> dict[str, float]:
            predicted = np.concatenate([self.predict(section) for section in validation.sections])
            return validation_scores(predicted, validation.target, validation.boundaries)

        return validate
