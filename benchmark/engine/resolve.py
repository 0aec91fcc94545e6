"""A method as asked for, with what it reads resolved to encoders and files of weights; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...datasets.folds import Fold
from ...datasets.readers.registry import READERS
from ...datasets.registry import DATASETS
from ...errors import ConfigurationError
from ...leaderboard.record import EncoderRecord
from ...methods.encoders.registry import ENCODERS, EncoderSpec, Weights, card, resolve
from ...methods.machine import EXACT, choose_evaluation, choose_steps
from ...methods.method import Inputs
from ...methods.registry import METHODS, MethodSpec, parse
from ..plugins import load_plugins
from ..settings import RunSettings


@dataclass(frozen=True)
class ResolvedMethod:
    """A method and its inputs.

    Attributes:
        spec: the method with validated parameters.
        inputs: what it declares to read.
        encoders: frozen encoders by the names that the method uses ("" is the run's).
        backbone: the network that it trains itself, if any; its weights are fp32, the arithmetic is the cell's
            precision, and its runtime is that of the training steps.
        evaluation: how the backbone's pooled output is computed where nothing is learned; `EXACT` without one.
        crossed: of --encoders the one that it reads; None without the flag, and for a method that reads none of them.
    """

    spec: MethodSpec
    inputs: Inputs
    encoders: Mapping[str, EncoderSpec]
    backbone: EncoderSpec | None
    crossed: str | None = None
    evaluation: str = EXACT

    @property
    def reads_the_runs_encoder(self) -> bool:
        """Whether its numbers depend on which encoder a run names."""
        return bool({"", "random"} & {*self.inputs.encoders}) or self.inputs.backbone == ""

    @property
    def steps(self) -> Literal["eager", "compiled"]:
        """How the training steps of the backbone run."""
        return "compiled" if self.backbone is not None and self.backbone.runtime == "compiled" else "eager"

    def stepping(self, steps: Literal["eager", "compiled"]) -> ResolvedMethod:
        """The same with the backbone's training steps run so."""
        return self if self.backbone is None else replace(self, backbone=replace(self.backbone, runtime=steps))

    def stepping_for(
        self, runtime: str, device: str, precision: str, folds: Sequence[Fold], max_epochs: int | None
    ) -> ResolvedMethod:
        """The same with the backbone's training steps run as the machine and the length of the training want it."""
        if self.backbone is None:
            return self
        epochs = getattr(self.spec.parameters, "epochs", 1)
        passes = min(len(fold.train) for fold in folds) * min(epochs, max_epochs or epochs)
        return self.stepping(choose_steps(runtime, device, precision, self.backbone.name, passes))

    @property
    def backbone_weights(self) -> Weights | None:
        """Where the weights of a backbone that the method trains itself come from; None without one."""
        return None if self.backbone is None else self.backbone.weights

    def encoder_record(self) -> EncoderRecord | None:
        """What the record shows: the backbone, else the first encoder, else None."""
        spec = self.backbone or next(iter(self.encoders.values()), None)
        if spec is None:
            return None
        return EncoderRecord(
            name=spec.name,
            weights=spec.sha256,
            version=spec.version,
            runtime=spec.runtime,
            dtype=spec.dtype,
            frozen=self.backbone is None,
            evaluation=self.evaluation,
        )

    def identity(self) -> dict[str, Any]:
        """Everything of the method and its inputs that decides its numbers."""
        evaluated = {} if self.evaluation == EXACT else {"evaluation": self.evaluation}
        return {
            "method": self.spec.name,
            "version": self.spec.cls.version,
            "parameters": self.spec.parameters.model_dump(mode="json"),
            "encoders": {name or "default": spec.identity() for name, spec in self.encoders.items()},
            "backbone": None if self.backbone is None else {**self.backbone.identity(), **evaluated},
        }


def resolve_method(text: str, settings: RunSettings, device: str) -> ResolvedMethod:
    """Parse `name[parameter=value]` and find the weights of all that it reads, for a device that is known ("cpu", "cuda").

    Raises:
        ConfigurationError: an unknown method, parameter or encoder, or weights that are nowhere to be found.
    """
    load_plugins(settings.plugin)
    spec = parse(text, settings.profile)
    encoder, weights, runtime = settings.encoder, settings.weights, settings.runtime
    inputs = spec.cls.inputs(spec.parameters)

    def find(name: str) -> EncoderSpec:
        if name == "random":
            if card(encoder).loader == "rgb":
                raise ConfigurationError(
                    f"Method {spec.name} draws random weights for the run's encoder, but '{encoder}' has no weights; "
                    "leave one of the two out."
                )
            return resolve(encoder, {**weights, encoder: "random"}, device, runtime)
        return resolve(name or encoder, weights, device, runtime)

    encoders = {name: find(name) for name in inputs.encoders}
    backbone, evaluation = None, EXACT
    if inputs.backbone is not None:  # trained in torch, in the cell's precision, whatever runs the frozen encoders
        backbone = replace(find(inputs.backbone), runtime="eager", dtype="fp32")
        if spec.cls.pooled:
            evaluation = choose_evaluation(runtime, device, card(backbone.name).precision)
    return ResolvedMethod(spec, inputs, encoders, backbone, evaluation=evaluation)


def refused_claims(methods: Iterable[ResolvedMethod], dataset: str, reader: str) -> list[str]:
    """What to say where another package claims a name of qbench's that a run uses."""
    used = [(DATASETS, dataset), (READERS, reader)]
    for method in methods:
        encoders = [*method.encoders.values(), *(() if method.backbone is None else (method.backbone,))]
        used += [(METHODS, method.spec.name), *((ENCODERS, encoder.name) for encoder in encoders)]
    return list(dict.fromkeys(sentence for registry, name in used for sentence in registry.refused(name)))
