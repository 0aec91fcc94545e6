"""What the image side of a method reads: frozen features in memory, or patches read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from ...datasets.cohort import Cohort, RowView
from ..memory import stays_on
from ..scaling import Scaling, chunks
from ..selection import validation_scores

UPLOADED = 1_024  # patches that travel to a GPU at a time: 150 MB of 224 px


class ImageSource(Protocol):
    """Rows of an image input: `prepare` runs on the host, one batch ahead of `ready`, which ends on the device.

    On a GPU `ready` waits for no copy where the rows given to `prepare` are pinned.

    Attributes:
        forward_batch: rows in a pass without gradients.
    """

    forward_batch: int

    def __len__(self) -> int: ...

    def prepare(self, rows: Tensor) -> Tensor:
        """What the host makes ready of the rows, int64 (b,), while the device works on the batch before."""

    def ready(self, batch: Tensor, training: bool) -> Tensor:
        """The prepared batch on the device, as the network takes it; augmented in training."""


class FeatureSource(ImageSource):
    """z-scored features, float32 (n, d), held on the device; `noise` is added in training."""

    forward_batch = 128

    def __init__(self, features: RowView, scaling: Scaling, device: torch.device, noise: float = 0.0) -> None:
        values = np.empty(features.shape, dtype=np.float32)
        for place, part in chunks(features):
            values[place] = scaling.apply(part)
        self._values = torch.from_numpy(values).to(device)
        self._noise = noise

    def __len__(self) -> int:
        return len(self._values)

    @override
    def prepare(self, rows: Tensor) -> Tensor:
        return rows

    @override
    def ready(self, batch: Tensor, training: bool) -> Tensor:
        values = self._values[batch.to(self._values.device, non_blocking=True)]
        return values + self._noise * torch.randn_like(values) if training and self._noise else values


class PatchSource(ImageSource):
    """Patches uint8 (n, h, w, 3), normalised to float32 (batch, 3, h, w) on the device, as (x / 255 - mean) / sd.

    A GPU holds them all where they fit (`memory.stays_on`); else each batch is read, pinned and sent while the last computes.
    With `augment`, each training patch is turned and mirrored at random into one of its eight symmetries.
    """

    def __init__(
        self,
        patches: RowView,
        mean: NDArray[np.float64],
        sd: NDArray[np.float64],
        device: torch.device,
        augment: bool = False,
    ) -> None:
        self._patches, self._device, self._augment = patches, device, augment
        # Eight patches' activations stay in a CPU's cache: DenseNet-121 runs 1.8 times as fast as with 64.
        self.forward_batch = 8 if device.type == "cpu" else 64
        self._mean = torch.tensor(mean * 255, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._sd = torch.tensor(sd * 255, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._resident = _resident(patches, device) if stays_on(device, int(np.prod(patches.shape))) else None

    def __len__(self) -> int:
        return len(self._patches)

    @override
    def prepare(self, rows: Tensor) -> Tensor:
        if self._resident is not None:
            return rows
        batch = torch.from_numpy(self._patches[rows.numpy()])
        return batch.pin_memory() if self._device.type == "cuda" else batch

    @override
    def ready(self, batch: Tensor, training: bool) -> Tensor:
        x = batch.to(self._device, non_blocking=True)
        if self._resident is not None:
            x = self._resident[x]
        x = x.permute(0, 3, 1, 2)
        if training and self._augment:
            x = random_symmetry(x)
        return x.to(torch.float32, memory_format=torch.channels_last).sub_(self._mean).div_(self._sd)


def _resident(patches: RowView, device: torch.device) -> Tensor:
    """All patches on the device, copied a few at a time."""
    out = torch.empty(patches.shape, dtype=torch.uint8, device=device)
    for place, part in chunks(patches, UPLOADED):
        out[place] = torch.from_numpy(part).to(device)
    return out


def random_symmetry(x: Tensor) -> Tensor:
    """Each square image of a batch (n, c, s, s) in one of its eight symmetries, drawn from torch's random state."""
    flip, mirror, transpose = (torch.rand((3, len(x), 1, 1, 1), device=x.device) < 0.5).unbind(0)
    x = torch.where(flip, x.flip(2), x)
    x = torch.where(mirror, x.flip(3), x)
    return torch.where(transpose, x.transpose(2, 3), x)


def symmetries(x: Tensor) -> Iterator[Tensor]:
    """The eight symmetries of a batch of square images (n, c, s, s), the identity first."""
    for turned in (x, x.transpose(2, 3)):
        for mirrored in (turned, turned.flip(3)):
            yield mirrored
            yield mirrored.flip(2)


def run_batches(
    network: nn.Module,
    source: ImageSource,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> NDArray[np.float32]:
    """`forward` (the network itself if None) over all rows in order, in evaluation mode: float32 (n, ...) on the host."""
    was_training = network.training
    network.eval()
    apply = forward or network
    with torch.inference_mode():
        parts = [
            apply(source.ready(source.prepare(rows), training=False)).float().cpu()
            for rows in torch.arange(len(source)).split(source.forward_batch)
        ]
    network.train(was_training)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def validator(predict: Callable[[], NDArray[np.float32]], validation: Cohort) -> Callable[[], dict[str, float]]:
    """What the training loop calls after each epoch, for methods that predict (n, genes) of a side directly."""
    return lambda: validation_scores(predict(), validation.target, validation.boundaries)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device
