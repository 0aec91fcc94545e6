"""The training loop that every trained method shares: mini-batches, validation, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..errors import MethodError
from .memory import host_memory_watched, memory_named
from .method import FitContext, Parameters
from .progress import Progress
from .weight_average import WeightAverage

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CHECKPOINT_SECONDS = 20.0  # epochs shorter than this share a checkpoint, or writing would outweigh training


class TrainingParameters(Parameters):
    """What the loop itself reads; methods add their own."""

    optimiser: Literal["adamw", "adam", "amsgrad", "sgd"] = Field(
        "adamw", description="Optimiser, fused where torch offers it."
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size, for a loss that is a mean over the batch.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum; read by sgd only.")
    weight_decay: float = Field(0.0, ge=0, le=10, description="Decoupled in adamw, added to the gradient otherwise.")
    batch_size: int = Field(128, ge=1, le=65_536, description="Spots in a step (sections for whole-section methods).")
    accumulate: int = Field(1, ge=1, le=1024, description="Batches whose gradients are averaged before a step.")
    epochs: int = Field(100, ge=1, le=100_000, description="Most passes over the training spots.")
    patience: int = Field(
        20,
        ge=0,
        le=100_000,
        description="Epochs without a better validation figure before stopping; 0 never stops early.",
    )
    clip_norm: float = Field(0.0, ge=0, description="Largest norm of the whole gradient; 0 does not clip.")


@contextmanager
def seeded(context: FitContext) -> Iterator[None]:
    """Everything random inside comes from the context's seed; the caller's random state is put back afterwards."""
    import torch

    from .precision import settle_cuda

    settle_cuda()
    cuda = torch.device(context.device).type == "cuda"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
        torch.manual_seed(context.seed)
        torch.set_flush_denormal(True)  # saturated softmaxes make denormals, ten times slower
        yield


@contextmanager
def arithmetic(context: FitContext) -> Iterator[None]:
    """Matrix products in the context's precision: bf16 through autocast, or fp32."""
    import torch

    device = torch.device(context.device).type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=context.precision == "bf16"):
        yield


def run(
    network: nn.Module,
    n: int,
    loss: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
    parameters: TrainingParameters,
    context: FitContext,
    *,
    validate: Callable[[], dict[str, float]] | None,
    prepare: Callable[[Tensor], Any] | None = None,
    monitor: Callable[[], Mapping[str, float]] | None = None,
    drop_last: bool = False,
    summed: bool = False,
    average: float = 0.0,
    settle: Callable[[], None] | None = None,
    rate: Callable[[int], float] | None = None,
    begin: Callable[[int, torch.optim.Optimizer], None] | None = None,
    memory_hint: str | None = None,
) -> None:
    """Train in place; the network ends in evaluation mode, in the state of the best epoch on validation.

    Without a validation cohort it runs all epochs and keeps the last state. An epoch's order is drawn from the seed.
    A checkpoint in `context.directory` is picked up where it stopped; the result is that of an undisturbed run.

    Args:
        network: on the context's device.
        n: number of rows that are shuffled and cut into batches.
        loss: from a batch to a scalar that is a mean over it, and figures to average over the epoch.
        parameters: batch size, learning rate, optimiser, epochs and patience.
        context: device, precision, seed and bound on epochs; takes the report of each epoch.
        validate: `validation_scores` of the network as it is, called in evaluation mode without gradients; or None.
        prepare: from row numbers, int64 (batch,) on the host (pinned for a GPU), to what `loss` gets; runs in a thread,
            one batch ahead.
        monitor: further figures at the end of an epoch, in evaluation mode without gradients.
        drop_last: leave out the last, smaller batch where there is a full one (for losses over pairs in a batch).
        summed: step by the loss summed over the rows, as a share of the full `batch_size * accumulate` rows: the last,
            shorter batch weighs by its rows. Otherwise each step is by a mean, whatever its rows.
        average: above 0, what validates and is kept is an average of the weights after each epoch, in which the past
            has this share; training goes on from the weights themselves.
        settle: called on the averaged network, whose batch statistics are of no weights that it has, before it
            validates.
        rate: share of the learning rate in each epoch, the first of which is 1; None for all of it throughout.
        begin: called before each epoch with its number, the first of which is 1, and the optimiser; may change weights.
        memory_hint: what to change where a batch does not fit; None names batch_size.

    Raises:
        MethodError: a loss that is not finite, or a batch too large for memory.
    """
    import torch

    generator = torch.Generator().manual_seed(context.seed)
    optimiser = _optimiser(network, parameters)
    averaged = WeightAverage(network, average) if average else None
    progress = Progress(network, optimiser, generator, context, averaged)
    epochs = parameters.epochs if context.max_epochs is None else min(parameters.epochs, context.max_epochs)
    stop = progress.resume()
    load = prepare or (lambda rows: rows)
    cuda = torch.device(context.device).type == "cuda"
    last_saved = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for epoch in range(progress.epoch + 1, epochs + 1):
            if stop:
                break
            network.train()
            if rate is not None:
                for group in optimiser.param_groups:
                    group["lr"] = parameters.learning_rate * rate(epoch)
            if begin is not None:
                begin(epoch, optimiser)
            batches = _batches(n, parameters.batch_size, generator, drop_last, cuda)
            with memory_named(memory_hint or f"set a smaller batch_size (now {parameters.batch_size})"):
                sums = _epoch(
                    network,
                    optimiser,
                    batches,
                    loss=loss,
                    prepare=load,
                    pool=pool,
                    parameters=parameters,
                    context=context,
                    summed=summed,
                )
                rows = sum(map(len, batches))
                figures = {name: float(total) / rows for name, total in sums.items()}
                _check(figures["loss"], epoch, parameters)
                network.eval()
                with averaged.after_epoch() if averaged else nullcontext():
                    with torch.inference_mode(), arithmetic(context):
                        if averaged and settle is not None:
                            settle()
                        if validate is not None:
                            figures |= validate()
                        if monitor is not None:
                            figures |= monitor()
                    progress.note(epoch, figures, validate is not None)
            stop = context.report(epoch, figures)
            stop |= validate is not None and 0 < parameters.patience <= epoch - progress.best_epoch
            progress.stopped = stop
            if context.directory is not None and time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                progress.save(context.directory)
                last_saved = time.monotonic()
    progress.restore_best()
    network.eval()


def _epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: list[Tensor],
    *,
    loss: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
    prepare: Callable[[Tensor], Any],
    pool: ThreadPoolExecutor,
    parameters: TrainingParameters,
    context: FitContext,
    summed: bool,
) -> dict[str, Tensor]:
    """One pass; the sums over all rows of the loss and of its figures.

    On a GPU nothing in it waits for the device, so the host stays ahead; what is returned is read back once.
    """
    import torch

    sums: dict[str, Tensor] = {}
    ahead = pool.submit(prepare, batches[0])
    for i, rows in enumerate(batches):
        batch = ahead.result()
        if i + 1 < len(batches):
            ahead = pool.submit(prepare, batches[i + 1])
        # The first batch tells; counting in every one would cost time.
        watched = host_memory_watched(torch.device(context.device)) if i == 0 else nullcontext()
        with arithmetic(context), watched:
            value, figures = loss(batch)
        group = min(parameters.accumulate, len(batches) - i // parameters.accumulate * parameters.accumulate)
        weight = len(rows) / (parameters.batch_size * parameters.accumulate) if summed else 1 / group
        (value * weight).backward()
        if (i + 1) % parameters.accumulate == 0 or i + 1 == len(batches):
            if parameters.clip_norm:
                torch.nn.utils.clip_grad_norm_(network.parameters(), parameters.clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        for name, figure in {"loss": value, **figures}.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + figure.detach().float() * len(rows)
    return sums


def _check(loss: float, epoch: int, parameters: TrainingParameters) -> None:
    if not math.isfinite(loss):
        raise MethodError(
            f"Expected a finite training loss, found {loss} in epoch {epoch}; set a smaller learning_rate (now "
            f"{parameters.learning_rate:g}) or clip_norm=1."
        )


def _batches(n: int, size: int, generator: torch.Generator, drop_last: bool, pinned: bool) -> list[Tensor]:
    import torch

    order = torch.randperm(n, generator=generator)
    batches = list((order.pin_memory() if pinned else order).split(size))
    return batches[:-1] if drop_last and len(batches) > 1 and len(batches[-1]) < size else batches


def _optimiser(network: nn.Module, parameters: TrainingParameters) -> torch.optim.Optimizer:
    import torch

    trained = [p for p in network.parameters() if p.requires_grad]
    common: dict[str, Any] = {"lr": parameters.learning_rate, "weight_decay": parameters.weight_decay, "fused": True}
    if parameters.optimiser == "sgd":
        return torch.optim.SGD(trained, momentum=parameters.momentum, **common)
    if parameters.optimiser == "adamw":
        return torch.optim.AdamW(trained, **common)
    return torch.optim.Adam(trained, amsgrad=parameters.optimiser == "amsgrad", **common)
