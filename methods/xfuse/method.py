"""XFuse (Bergenstråhle et al., Nature Biotechnology 2022; ludvb/xfuse): a deep generative model of image and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...datasets.views import Views
from ...errors import MethodError
from ..disk import disk_cells, middle_cells
from ..method import FitContext, Inputs, Method
from ..selection import validation_scores
from .parameters import XFuseParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .cells import Cells
    from .model import XFuseNetwork

FORWARD_CELLS = 262_144  # cells of images that pass at once without gradients
LOOKED_AT = 512  # training spots, evenly spread, that decide what a metagene is worth
PER_TEN_THOUSAND = 1e4


class XFuse(Method):
    """The latent state of a spot's patch is inferred from the image alone; what image and counts show is decoded from it.

    Counts of a spot are negative binomial, their totals summed over the cells of its disk. Effects of the training sections'
    conditions are learned, and left out in `predict`, so that a section of training is predicted as any other.
    """

    name = "xfuse"
    version = 2
    Parameters = XFuseParameters
    parameters: XFuseParameters
    network: XFuseNetwork
    _cells: Cells
    _conditions: dict[str, int]  # levels of each covariate
    _proportion: bool  # whether the target is of proportions

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        if parameters.features == "pixels":
            return Inputs(patches=True)
        return Inputs(encoders=("",), views=(Views(parameters.cells, inside=True),))

    @classmethod
    @override
    def fine_inputs(cls, parameters: Any) -> Inputs | None:
        return cls.inputs(parameters)

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..images.sources import random_symmetry
        from ..memory import stays_on
        from ..training import run, seeded
        from .cells import Cells
        from .expression import baseline
        from .metagenes import evolve, forget, gains

        p = self.parameters
        self.genes = train.genes
        _check_sides(train, p)
        device = torch.device(context.device)
        with seeded(context):
            self._proportion = train.sections[0].target_name == "proportion"
            counts = self._counts(train)
            self._cells = Cells.of(train, p)
            read, target = self._cells.read(train), torch.from_numpy(counts.astype(np.float32))
            conditions = _conditions(train, p)
            levels = {name: torch.from_numpy(level).to(device) for name, level in conditions.items()}
            self._conditions = {name: int(level.max()) + 1 for name, level in conditions.items()}
            self.network = network = self._build(*baseline(counts)).to(device)
            if stays_on(device, read.nbytes + target.nbytes):
                read, target = read.to(device), target.to(device)
            disk = self._disk(device)

            def batch(rows: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
                there, here = rows.to(read.device, non_blocking=True), rows.to(device, non_blocking=True)
                images = self._cells.images(read[there].to(device))
                return images, target[there].to(device), {name: level[here] for name, level in levels.items()}

            def loss(rows: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
                images, found, conditions = batch(rows % len(train))
                if p.augment:
                    images = random_symmetry(images)
                return network.loss(images, found, conditions, disk, len(train))

            looked_at = torch.from_numpy(np.unique(np.linspace(0, len(train) - 1, LOOKED_AT).astype(np.int64)))

            def begin(epoch: int, optimiser: torch.optim.Optimizer) -> None:
                if (epoch - 1) % p.metagene_epochs or epoch == 1:
                    return
                network.eval()
                gain = gains(network, lambda: map(batch, looked_at.split(self._forward_batch)), disk)
                forget(network, optimiser, evolve(network.expression, network.activity, gain))
                network.train()

            validate = None if validation is None else self._validator(validation, device)

            def monitor() -> dict[str, float]:
                return {"metagenes": float(network.expression.active.sum())}

            rows = len(train) * p.passes(len(train))
            run(network, rows, loss, p, context, validate=validate, begin=begin, monitor=monitor, drop_last=True)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        from ..images.sources import device_of

        device = device_of(self.network)
        return self._predict(self._cells.read(section), self._disk(device))

    @override
    def predict_fine(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of

        device = device_of(self.network)
        index = torch.from_numpy(middle_cells(self._cells.cells)).to(device)
        return self._predict(
            self._cells.read(section), (index, torch.full((len(index),), 1 / len(index), device=device))
        )

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        counts = {f"conditions.{name}": np.array(levels) for name, levels in self._conditions.items()}
        return {
            **to_arrays(self.network),
            **self._cells.state(),
            **counts,
            "target.proportion": np.array(self._proportion, dtype=np.uint8),
        }

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        import torch

        from ..network_arrays import from_arrays
        from .cells import Cells

        state = dict(state)
        self._proportion = bool(state.pop("target.proportion"))
        own = [name for name in state if name.startswith("conditions.")]
        self._conditions = {name.removeprefix("conditions."): int(state.pop(name)) for name in own}
        self._cells = Cells.restore(state, self.parameters)
        genes = torch.zeros(len(self.genes) + self._proportion)
        self.network = self._build(genes, genes)
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    @property
    def _forward_batch(self) -> int:
        return max(1, FORWARD_CELLS // self._cells.cells**2)

    def _build(self, rate: Tensor, logit: Tensor) -> XFuseNetwork:
        import torch

        from .expression import Expression
        from .model import XFuseNetwork

        p, cells = self.parameters, self._cells
        expression = Expression(rate, logit, p.metagenes, self._conditions)
        mean, bounded = torch.from_numpy(cells.mean), cells.reduced is None
        return XFuseNetwork(cells.channels, mean, bounded, p.width, p.levels, expression)

    def _counts(self, side: Cohort) -> NDArray[np.int64]:
        """Counts of the panel, int64 (n, genes); for proportions a last column holds those of all other genes."""
        panel = np.concatenate([section.counts() for section in side.sections])
        if not self._proportion:
            return panel
        return np.column_stack([panel, np.maximum(side.library_size - panel.sum(axis=1), 0)])

    def _disk(self, device: torch.device) -> tuple[Tensor, Tensor]:
        import torch

        p = self.parameters
        index, weight = disk_cells(p.cells, p.disk, p.features == "pixels", self.name)
        return torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device)

    def _predict(self, read: Tensor, disk: tuple[Tensor, Tensor]) -> NDArray[np.float32]:
        """float32 (n, genes) in target space: of the mean counts, some spots at a time."""
        import torch

        network = self.network
        was_training = network.training
        network.eval()
        device = disk[1].device
        with torch.inference_mode():
            out = [
                self._in_target_space(network.expected(self._cells.images(rows.to(device)), disk)).cpu()
                for rows in read.split(self._forward_batch)
            ]
        network.train(was_training)
        return np.asarray(torch.cat(out).numpy(), dtype=np.float32)

    def _in_target_space(self, mean: Tensor) -> Tensor:
        if self._proportion:
            mean = PER_TEN_THOUSAND * mean[:, :-1] / mean.sum(dim=1, keepdim=True)
        return mean.log1p()

    def _validator(self, validation: Cohort, device: torch.device) -> Callable[[], dict[str, float]]:
        read, disk = self._cells.read(validation), self._disk(device)
        return lambda: validation_scores(self._predict(read, disk), validation.target, validation.boundaries)


def _check_sides(train: Cohort, p: XFuseParameters) -> None:
    if len(train) < 2:
        raise MethodError(
            f"xfuse: expected two training spots or more, whose images its batch normalisation compares, found {len(train)}; "
            "add sections."
        )
    if p.cells < 2 ** (p.levels - 1):
        raise MethodError(
            f"xfuse: expected an image of {2 ** (p.levels - 1)} cells or more along its edge for levels={p.levels}, each of "
            f"half the resolution of the one above, found cells={p.cells}; set more cells or fewer levels."
        )


def _conditions(train: Cohort, p: XFuseParameters) -> dict[str, NDArray[np.int64]]:
    """Number of each row's section and patient, int64 (N,), of the covariates that are asked for."""
    sections = np.repeat(np.arange(len(train.sections)), [section.n_spots for section in train.sections])
    _, patients = np.unique(train.patients, return_inverse=True)
    found = {"section": sections.astype(np.int64), "patient": patients.astype(np.int64)}
    return {name: level for name, level in found.items() if p.covariates in (name, "both")}
