"""The interface that every method implements, and what the harness hands it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..array_files import read_weights
from ..datasets.cohort import Cohort, SealedSection
from ..datasets.tiles import Surroundings
from ..datasets.views import Views
from ..errors import ConfigurationError, MethodError, reading
from ..text_files import read_json
from ..yaml_files import dotted, fault
from .machine import EXACT


class Parameters(BaseModel):
    """Base of every method's parameters: typed, bounded, documented, closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Inputs:
    """What a method reads of a section, so that the harness prepares that and nothing else.

    Attributes:
        encoders: names of encoders whose features it reads; "" is the run's, "random" the same with random weights.
        patches: whether it reads the pixels.
        labels: whether it reads the pathologist's labels.
        backbone: timm name of a network that it trains itself, whose weights the harness locates.
        views: several views of each spot whose features by the run's encoder it reads; that encoder is among
            `encoders`.
        surroundings: tiles of the section around each spot whose pixels it reads.
    """

    encoders: tuple[str, ...] = ()
    patches: bool = False
    labels: bool = False
    backbone: str | None = None
    views: tuple[Views, ...] = ()
    surroundings: Surroundings | None = None

    def __post_init__(self) -> None:
        if self.views and "" not in self.encoders:
            raise ConfigurationError(
                "Expected the run's encoder beside views, which it encodes; return Inputs(encoders=('',), views=...)."
            )

    @property
    def image(self) -> bool:
        """Whether anything of the image is read, so that `--no-images` refuses the method."""
        return self.pixels or bool(self.encoders)

    @property
    def pixels(self) -> bool:
        """Whether patches themselves are read, and not only what an encoder makes of them."""
        return self.patches or self.backbone is not None or self.surroundings is not None


@dataclass
class FitContext:
    """What the harness gives to `fit` beside the data.

    Attributes:
        seed: the only source of randomness that a method may use.
        device: a torch device name.
        precision: arithmetic of the matrix products.
        threads: of the CPU.
        evaluation: runtime and dtype in which a tuned backbone's pooled output is computed where nothing is learned, as
            "openvino:bf16"; validation, whose weights are others in each epoch, stays in torch. Read by `pooled` methods.
        compiled: whether the training steps of a backbone that the method tunes are compiled.
        directory: a work directory of the cell, for checkpoints, emptied when the cell is done; None for none.
        select: what early stopping minimises on the validation cohort: "mse", or "pcc" (its negative).
        max_epochs: an upper bound on the epochs, or None for the method's own.
        backbone: file of weights for `Inputs.backbone`, "random", or None where the method declared none.
        on_epoch: called after each epoch; True asks the method to stop.
        history: what was reported, one entry an epoch.
        warnings: findings that a reader of the result must see.
        selected_epoch: the epoch whose state the method kept, where it trains in epochs.
    """

    seed: int = 0
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    evaluation: str = EXACT
    compiled: bool = False
    threads: int = 1
    directory: Path | None = None
    select: Literal["mse", "pcc"] = "mse"
    max_epochs: int | None = None
    backbone: Path | Literal["random"] | None = None
    on_epoch: Callable[[int, Mapping[str, float]], bool] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    selected_epoch: int | None = None

    def report(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Record an epoch's metrics; returns True when the method should stop."""
        self.history.append({"epoch": float(epoch), **{k: float(v) for k, v in metrics.items()}})
        return self.on_epoch(epoch, metrics) if self.on_epoch is not None else False

    def warn(self, message: str) -> None:
        """A finding that a reader of the result must see; kept in the record, said once."""
        if message not in self.warnings:
            self.warnings.append(message)


class Method(ABC):
    """A predictor of spatial gene expression. Importing the module of a method must not import torch.

    Class attributes:
        name: as on the command line.
        version: raised by hand whenever its numbers move.
        kind: "method", "control" (a baseline that keeps methods honest) or "oracle" (sees test counts, never ranked).
        seeded: whether the seed changes its result; an unseeded method runs once whatever the seeds.
        pooled: whether it predicts from the pooled output of a backbone that it tunes, as `FitContext.evaluation` says.
        context: "spot" if each spot is predicted on its own, "section" if the whole test section is read at once.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    kind: ClassVar[Literal["method", "control", "oracle"]] = "method"
    seeded: ClassVar[bool] = True
    pooled: ClassVar[bool] = False
    context: ClassVar[Literal["spot", "section"]] = "spot"
    Parameters: ClassVar[type[Parameters]] = Parameters
    parameters: BaseModel  # a method names its own class: `parameters: RidgeParameters`

    def __init__(self, parameters: BaseModel | None = None) -> None:
        self.parameters = self.Parameters() if parameters is None else parameters
        self.genes: tuple[str, ...] = ()
        self.network: Any = None  # the torch module of methods that train one, once fitted or loaded

    @classmethod
    def inputs(cls, parameters: Any) -> Inputs:
        """What the method reads with these parameters; by default the features of the run's encoder."""
        return Inputs(encoders=("",))

    @classmethod
    def fine_inputs(cls, parameters: Any) -> Inputs | None:
        """What `predict_fine` reads, for methods that give maps finer than spots; None for the others."""
        return None

    @abstractmethod
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        """Learn from `train`, select on `validation`; `context.report` after each epoch. Must set `self.genes`."""

    @abstractmethod
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        """Float32 (spots, genes) in target space (log1p), unrounded, for one sealed section."""

    def to(self, device: str) -> None:
        """Have `predict` compute there: the network moves, where there is one."""
        if self.network is not None:
            from .precision import settle_cuda

            settle_cuda()
            self.network.to(device)

    @property
    def evaluation(self) -> str:
        """How `predict` computes the pooled output of a backbone that it tuned: see `FitContext.evaluation`."""
        return EXACT

    def evaluate_in(self, evaluation: str) -> None:  # noqa: B027 - most have nothing to change
        """Have `predict` compute that so from now on; without effect on methods that tuned none."""

    def predict_fine(self, section: SealedSection) -> NDArray[np.float32]:
        """As `predict`, for points that lie closer than spots: what a spot would show that looks all over as it does there."""
        raise MethodError(f"{self.name} does not implement predict_fine(), which fine_inputs() promises; write it.")

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that `predict` needs beside the parameters, as named arrays."""
        raise MethodError(f"{self.name} does not implement state(), which saving a fitted method needs; write it.")

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        raise MethodError(f"{self.name} does not implement restore(), which loading a fitted method needs; write it.")

    def n_parameters(self) -> int:
        """Number of trained values, as papers count them; 0 for methods that have none."""
        return 0

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """Arrays worth keeping beside the scores (codebook usage, input-layer weights); may be empty."""
        return {}

    def save(self, directory: Path) -> None:
        """Write `method.json` and `model.safetensors` into `directory`, which is made."""
        from safetensors.numpy import save_file

        directory.mkdir(parents=True, exist_ok=True)
        header = {
            "name": self.name,
            "version": self.version,
            "parameters": self.parameters.model_dump(mode="json"),
            "genes": list(self.genes),
        }
        save_file({k: np.asarray(v, order="C") for k, v in self.state().items()}, directory / "model.safetensors")
        (directory / "method.json").write_text(json.dumps(header, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The fitted method that `save` wrote.

        Raises:
            MethodError: another method's folder, a version whose numbers differ, or weights that cannot be read.
        """
        path, what, remedy = directory / "method.json", "a saved method", "fit it again with this qbench"
        with reading(what, path, remedy):
            header = read_json(path, what, remedy)
            genes = tuple(map(str, header["genes"]))
            header["parameters"]  # without them it would be another method, of the defaults
        if (header.get("name"), header.get("version")) != (cls.name, cls.version):
            raise MethodError(
                f"Expected {cls.name} version {cls.version} in {directory}, found {header.get('name')} version "
                f"{header.get('version')}; fit it again with this qbench."
            )
        try:
            method = cls(cls.Parameters.model_validate(header.get("parameters")))
        except ValidationError as error:
            where, words = fault(error, cls.Parameters)
            raise MethodError(
                f"Expected the parameters of {cls.name} in {directory / 'method.json'}, but {dotted(where)}: {words} "
                "Fit it again with this qbench."
            ) from error
        method.genes = genes
        weights, what = directory / "model.safetensors", f"the weights of {cls.name}"
        with reading(what, weights, remedy):
            method.restore(read_weights(weights, what, remedy))
        return method
