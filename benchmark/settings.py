"""What a run was asked for: each setting declared once, with its words, bounds, default and the commands that take it.

The flags of the commands, the signature of `qbench.run`, the keys of a --config file and docs/settings.md follow from here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import short
from ..methods.encoders.card import DEFAULT

if TYPE_CHECKING:
    from ..methods.encoders.registry import Weights

DEFAULT_PROTOCOL = "patient"
MOST_SEED = 2**32 - 1  # what numpy's and torch's generators both take
# The commands that read the settings of a run as a whole; a few others take some of them one by one.
CELLS = ("run", "sweep", "ablate")
TRAINING = (*CELLS, "fit")
SPLITS = (*CELLS, "score", "protocol export")
DATA = (*SPLITS, "fit")
COMPUTING = (*TRAINING, "predict", "bench")


def setting(default: Any, description: str, commands: tuple[str, ...], short_flag: str = "", **bounds: Any) -> Any:
    """A setting: its default, what it is, the commands that take it, a flag of one letter, and pydantic's bounds."""
    extra: dict[str, Any] = {"commands": list(commands), "short_flag": short_flag}
    return Field(default, description=description, json_schema_extra=extra, validate_default=True, **bounds)


class RunSettings(BaseModel):
    """Settings of `qbench run`, by the names of the flags with underscores; the same names stand in a --config file.

    Every path is made absolute here, and nowhere else, for cells and trials run in processes and on machines that were
    started in another folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = setting(
        (), 'Methods, with settings in brackets: qca,"bleep[k=20]"; may be repeated.', ("run",), "-m"
    )
    dataset: str = setting(
        "demo",
        "demo, her2st, or a card of your own (NAME or FILE.yaml)",
        (*DATA, "leaderboard", "downstream", "reproduce"),
    )
    data_dir: Path | None = setting(
        None,
        "Folder of the dataset's files; else the environment's QBENCH_DATA.",
        (*DATA, "predict", "leaderboard", "downstream", "reproduce", "data verify", "doctor"),
    )
    test_on: str | None = setting(
        None,
        "Train on all patients of --dataset and test on this one: a protocol of its own, transfer.",
        (*DATA, "reproduce"),
    )
    test_data_dir: Path | None = setting(
        None,
        "As --data-dir, of the dataset of --test-on.",
        (*DATA, "reproduce"),
    )
    tasks: tuple[str, ...] = setting((), "Tasks of HEST-bench, each a folder of that name in --data-dir.", ("run",))
    protocol: str = setting(
        DEFAULT_PROTOCOL,
        "patient, section, spots-held-out, hest-bench (with --tasks), histogene32, spared, or FILE.yaml",
        SPLITS,
    )
    allow_leaky: bool = setting(
        False, "Run a protocol in which one patient stands on both sides; it gets its own table.", SPLITS
    )
    target: Literal["counts", "proportion"] = setting(
        "counts", "counts (log1p of integer counts) or proportion (per 10,000, log1p)", DATA
    )
    sections: tuple[str, ...] = setting((), "Only these sections, by id.", (*DATA, "predict"))
    no_images: bool = setting(False, "Every section that has counts, for methods that need no image.", SPLITS)
    profile: Literal["fast", "paper"] = setting(
        "fast", "fast (frozen shared features) or paper (as published)", (*TRAINING, "score", "check")
    )
    encoder: str = setting(
        DEFAULT, "Image encoder: a name of 'qbench list encoders', or any timm name", (*TRAINING, "doctor")
    )
    encoders: tuple[str, ...] = setting(
        (), "In place of --encoder: several, each crossed with every method that reads one.", ("run",)
    )
    encoder_weights: tuple[str, ...] = setting(
        (), "NAME=FILE (repeatable), or random.", (*TRAINING, "predict", "reproduce")
    )
    microns_per_pixel: float | None = setting(
        None, "Resample patches to this size; native pixels without it.", TRAINING, ge=0.05, le=5
    )
    stain: Literal["none", "grey", "macenko"] = setting(
        "none", "How patches' stain is treated: none, grey, or macenko (normalised, section by section)", TRAINING
    )
    runtime: str = setting(
        "auto",
        "auto, eager, compiled or openvino, of encoders and tuned backbones; ':fp32' or ':bf16' behind it fixes the dtype",
        COMPUTING,
    )
    seeds: tuple[int, ...] = setting((0,), f"Seeds, each from 0 to {MOST_SEED}", TRAINING)
    max_epochs: int | None = setting(None, "An upper bound on every method's epochs.", TRAINING, ge=1)
    select: Literal["mse", "pcc"] = setting("mse", "What early stopping watches on validation: mse or pcc", TRAINING)
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "auto, cpu or cuda", COMPUTING)
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "Of training: fp32, bf16, or auto (bf16 for paper profiles on a GPU)", TRAINING
    )
    workers: int | None = setting(None, "Cells at once, through Ray; one thread each.", ("run", "ablate"), ge=1)
    ray_address: str | None = setting(None, "Run the cells on this Ray cluster.", CELLS)
    out: Path = setting(
        Path("runs"),
        "The runs folder",
        (*CELLS, "score", "list", "leaderboard", "compare", "figures", "downstream", "verify", "submit"),
    )
    keep_models: bool = setting(True, "Whether cells keep their fitted model.", CELLS)
    retry_failed: bool = setting(False, "Run cells again that failed before.", CELLS)
    plugin: tuple[str, ...] = setting(
        (),
        "A method of your own: FILE.py:Class or package.module:Class.",
        (*TRAINING, "predict", "check", "reproduce", "list", "info"),
    )

    @field_validator("methods", "tasks", "sections", "seeds", "encoders", "encoder_weights", "plugin", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Lists may be written as one string with commas, outside brackets, or as a sequence of such strings."""
        if isinstance(value, str | int):
            value = [value]
        if isinstance(value, list | tuple):
            from ..methods.registry import split_list

            return tuple(part for item in value for part in (split_list(item) if isinstance(item, str) else [item]))
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [seed for seed in value if not 0 <= seed <= MOST_SEED]
        if wrong or not value:
            raise ValueError(f"expected seeds from 0 to {MOST_SEED}, found {short(wrong[0]) if wrong else 'none'}")
        return tuple(dict.fromkeys(value))

    @field_validator("encoders")
    @classmethod
    def _encoders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each counts once."""
        return tuple(dict.fromkeys(value))

    @field_validator("data_dir", "test_data_dir", "out")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(absolute(str(value)))

    @field_validator("dataset", "test_on", "protocol")
    @classmethod
    def _card(cls, value: str | None) -> str | None:
        """A name stays as it is."""
        return absolute(value) if value is not None and value.endswith((".yaml", ".yml")) else value

    @field_validator("plugin")
    @classmethod
    def _plugins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Of FILE.py:Class the file; package.module:Class stays as it is."""
        parts = [plugin.rpartition(":") for plugin in value]
        return tuple(f"{absolute(p[0])}:{p[2]}" if p[0].endswith(".py") else "".join(p) for p in parts)

    @field_validator("encoder_weights")
    @classmethod
    def _weights(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Of NAME=FILE the file; NAME=random and random stay as they are."""
        parts = [weights.rpartition("=") for weights in value]
        return tuple(
            f"{name}={absolute(file)}" if equals and file not in ("", "random") else f"{name}{equals}{file}"
            for name, equals, file in parts
        )

    def under(self, encoder: str | None) -> RunSettings:
        """Those of a cell: of `encoders` the one that its method is crossed with, None where it reads none of them."""
        if not self.encoders:
            return self
        return self.model_copy(update={"encoders": (), **({} if encoder is None else {"encoder": encoder})})

    @property
    def weights(self) -> dict[str, Weights]:
        """`--encoder-weights` by the name of the encoder."""
        from ..methods.encoders.registry import parse_weights

        return parse_weights(self.encoder_weights)


def commands(model: type[BaseModel], name: str) -> list[str]:
    """The commands that take a setting."""
    extra = model.model_fields[name].json_schema_extra
    assert isinstance(extra, dict), "every field of the settings is made by `setting`"
    found = extra["commands"]
    assert isinstance(found, list)
    return [str(command) for command in found]


def words(name: str, model: type[BaseModel] = RunSettings) -> str:
    """What a setting is, with its default where there is one to tell."""
    field = model.model_fields[name]
    text = str(field.description)
    return text if text.endswith(".") else f"{text}; default {written(field.default)}."


def written(value: Any) -> str:
    """A default as the command line takes it."""
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def absolute(path: str) -> str:
    """A path that holds in every process; "~" is the home folder.

    Raises:
        ValueError: no path of any file.
    """
    if not path or "\0" in path:
        raise ValueError(f"expected a path, found {short(path)}")
    return str(Path(os.path.expanduser(path)).absolute())
