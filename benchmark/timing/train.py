"""One epoch of each method: the shared training loop against a plain loop over the same network and data."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from ...datasets.cohort import Cohort
from ...methods.machine import COMPILE_FROM, choose_steps, resolve_device
from ...methods.method import FitContext
from ...methods.registry import MethodSpec, spec
from .measure import Row, alternate, less, matmul_limit, rate
from .simulated import cohort

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("qca", "stnet", "histogene", "bleep")
FEATURES, GENES = 1280, 1000
# sections, spots of each, edge of their patches, epochs (of which the first warms up and is not counted)
SIZES = {"fast": (4, 256, 0, 5), "paper": (1, 64, 224, 2)}
Precision = Literal["fp32", "bf16"]


def rows(profile: str = "fast", device: str = "auto", methods: tuple[str, ...] = METHODS) -> list[Row]:
    """Epochs per second of each method on simulated sections, without set-up and validation.

    `fast` trains on features in fp32, `paper` the whole published network on images, in fp32 and in bf16, with steps that
    are compiled where those of a long run would be.

    Raises:
        ConfigurationError: an unknown profile or device.
    """
    specs = [spec(name, profile=profile) for name in methods]
    device = resolve_device(device)
    sections, spots, patch_size, epochs = SIZES[profile]
    train = cohort(sections, spots, FEATURES, GENES, patch_size)
    found = []
    for described in specs:
        for precision in precisions(profile):
            timer = Timer(described, train, epochs, precision, device)
            times = alternate(timer.ours, timer.plain)
            how = f"{precision}, compiled" if timer.compiled else precision
            label = f"train {described.name} ({profile}), one epoch of {sections * spots:,} spots, {how}"
            limit = matmul_limit(precision, device) / timer.flops()
            ours_s, plain_s = (statistics.median(seconds[1:]) for seconds in (timer.ours_s, timer.plain_s))
            found.append(rate(label, "epochs/s", 1, ours_s, plain_s, limit))
            memory = f"train {described.name} ({profile}), {how}, peak memory"
            found.append(less(memory, "MB", times.ours_mb, times.plain_mb))
    return found


def precisions(profile: str) -> tuple[Precision, ...]:
    """What a profile's training is timed in."""
    return ("fp32", "bf16") if profile == "paper" else ("fp32",)


class Timer:
    """Fits of one method by either loop, and the mean seconds of their epochs after the first."""

    def __init__(self, described: MethodSpec, train: Cohort, epochs: int, precision: Precision, device: str) -> None:
        self._described, self._train, self._epochs = described, train, epochs
        self._precision, self._device = precision, device
        self.tuned = described.cls.inputs(described.parameters).backbone or ""
        self.compiled = choose_steps("auto", device, precision, self.tuned, COMPILE_FROM) == "compiled"
        self.ours_s: list[float] = []
        self.plain_s: list[float] = []

    def ours(self) -> None:
        """One fit by the shared loop."""
        self.ours_s.append(self._seconds(self.compiled))

    def plain(self) -> None:
        """One fit by the plain loop."""
        # The method builds its network, data and loss as ever; only the loop and the images' layout are others.
        from ...methods.images.sources import PatchSource

        with_layout = PatchSource.ready

        def ready(source: PatchSource, batch: Tensor, training: bool) -> Tensor:
            return with_layout(source, batch, training).contiguous()

        with (
            mock.patch("qbench.methods.training.run", plain_run),
            mock.patch.object(PatchSource, "ready", ready),
        ):
            self.plain_s.append(self._seconds(compiled=False))

    def flops(self) -> int:
        """Floating point operations of the matrix products of one epoch: what a second epoch adds to the first."""
        from torch.utils.flop_counter import FlopCounterMode

        counted = []
        for epochs in (1, 2):
            with FlopCounterMode(display=False) as counter:
                self._fit(epochs, compiled=False)
            counted.append(counter.get_total_flops())
        return int(counted[1] - counted[0])

    def _seconds(self, compiled: bool) -> float:
        ends = self._fit(self._epochs, compiled)
        return (ends[-1] - ends[0]) / (len(ends) - 1)

    def _fit(self, epochs: int, compiled: bool) -> list[float]:
        """When each epoch ended."""
        ends: list[float] = []

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> bool:
            ends.append(time.perf_counter())
            return False

        with tempfile.TemporaryDirectory() as folder:
            context = FitContext(
                directory=Path(folder),
                device=self._device,
                precision=self._precision,
                compiled=compiled,
                max_epochs=epochs,
                threads=os.cpu_count() or 1,
                backbone="random",
                on_epoch=on_epoch,
            )
            self._described.build().fit(self._train, None, context)
        return ends


def plain_run(
    network: nn.Module,
    n: int,
    loss: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
    parameters: Any,
    context: FitContext,
    *,
    prepare: Callable[[Tensor], Any] | None = None,
    drop_last: bool = False,
    **_: Any,
) -> None:
    """What one writes without the shared loop: a DataLoader of rows, a plain optimiser, the loss read back in each step."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from ...methods.training import arithmetic

    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    steps: dict[str, float] = {"lr": parameters.learning_rate, "weight_decay": parameters.weight_decay}
    if parameters.optimiser == "sgd":
        steps["momentum"] = parameters.momentum
    optimiser = kinds[parameters.optimiser](network.parameters(), **steps)
    size = min(parameters.batch_size, n)
    loader = DataLoader(TensorDataset(torch.arange(n)), size, shuffle=True, drop_last=drop_last)
    network.to(memory_format=torch.contiguous_format)
    network.train()
    for epoch in range(1, (context.max_epochs or parameters.epochs) + 1):
        total = 0.0
        for (rows,) in loader:
            optimiser.zero_grad()
            with arithmetic(context):
                value, _figures = loss(rows if prepare is None else prepare(rows))
            value.backward()
            if parameters.clip_norm:
                torch.nn.utils.clip_grad_norm_(network.parameters(), parameters.clip_norm)
            optimiser.step()
            total += value.item()
        context.report(epoch, {"loss": total})
    network.eval()
