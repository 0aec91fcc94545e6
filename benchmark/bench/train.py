"""One epoch of each method, `fast` profile: the shared training loop against a plain fp32 loop over the same network and data."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from ...datasets.cohort import Cohort
from ...methods.method import FitContext
from ...methods.registry import spec
from .measure import Row, alternate, less, matmul_limit, rate
from .simulated import cohort

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("qca", "stnet", "histogene", "bleep")
SECTIONS, SPOTS, FEATURES, GENES = 4, 256, 1280, 1000
EPOCHS = 5  # of which the first warms up and is not counted


def rows(methods: tuple[str, ...] = METHODS) -> list[Row]:
    """Epochs per second of each method on simulated sections, fp32 on the CPU, without set-up and validation."""
    train = cohort(SECTIONS, SPOTS, FEATURES, GENES)
    found = []
    for name in methods:
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}

        def ours(name: str = name, seconds: dict[str, list[float]] = seconds) -> None:
            seconds["ours"].append(_epoch_seconds(name, train))

        def plain(name: str = name, seconds: dict[str, list[float]] = seconds) -> None:
            # The method builds its network, data and loss as ever; only the loop over them is another.
            with mock.patch("qbench.methods.training.run", plain_run):
                seconds["plain"].append(_epoch_seconds(name, train))

        times = alternate(ours, plain)
        label = f"train {name}, one epoch of {SECTIONS * SPOTS:,} spots, fp32"
        ours_s, plain_s = (statistics.median(seconds[side][1:]) for side in ("ours", "plain"))
        limit = matmul_limit("fp32") / _epoch_flops(name, train)
        found.append(rate(label, "epochs/s", 1, ours_s, plain_s, limit))
        found.append(less(f"train {name}, peak memory", "MB", times.ours_mb, times.plain_mb))
    return found


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

    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    steps: dict[str, float] = {"lr": parameters.learning_rate, "weight_decay": parameters.weight_decay}
    if parameters.optimiser == "sgd":
        steps["momentum"] = parameters.momentum
    optimiser = kinds[parameters.optimiser](network.parameters(), **steps)
    size = min(parameters.batch_size, n)
    loader = DataLoader(TensorDataset(torch.arange(n)), size, shuffle=True, drop_last=drop_last)
    network.train()
    for epoch in range(1, (context.max_epochs or parameters.epochs) + 1):
        total = 0.0
        for (rows,) in loader:
            optimiser.zero_grad()
            value, _figures = loss(rows if prepare is None else prepare(rows))
            value.backward()
            optimiser.step()
            total += value.item()
        context.report(epoch, {"loss": total})
    network.eval()


def _epoch_flops(name: str, train: Cohort) -> int:
    """Floating point operations of the matrix products of one epoch: what a second epoch adds to the first."""
    from torch.utils.flop_counter import FlopCounterMode

    described, counted = spec(name), []
    for epochs in (1, 2):
        with tempfile.TemporaryDirectory() as folder, FlopCounterMode(display=False) as counter:
            described.cls(described.parameters).fit(
                train, None, FitContext(directory=Path(folder), max_epochs=epochs, threads=os.cpu_count() or 1)
            )
        counted.append(counter.get_total_flops())
    return int(counted[1] - counted[0])


def _epoch_seconds(name: str, train: Cohort) -> float:
    """Mean seconds of the epochs after the first."""
    ends: list[float] = []

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> bool:
        ends.append(time.perf_counter())
        return False

    described = spec(name)
    with tempfile.TemporaryDirectory() as folder:
        context = FitContext(directory=Path(folder), max_epochs=EPOCHS, threads=os.cpu_count() or 1, on_epoch=on_epoch)
        described.cls(described.parameters).fit(train, None, context)
    return (ends[-1] - ends[0]) / (len(ends) - 1)
