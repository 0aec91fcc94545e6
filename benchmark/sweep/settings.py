"""The settings of a search beside those of a run, declared once as these are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..settings import setting


class SweepSettings(BaseModel):
    """Settings of `qbench sweep` beside those of a run, by the names of the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: Path | None = setting(None, "YAML of what to search; else the method's own.", ("sweep",))
    samples: int | None = setting(None, "Points to draw for each fold; 8 without it.", ("sweep",), ge=1, le=100_000)
    search: Literal["random", "grid"] = setting("random", "random or grid", ("sweep",))
    scheduler: Literal["asha", "fifo"] = setting("asha", "asha (stops weak trials) or fifo", ("sweep",))
    gpus_per_trial: Literal["auto"] | float = setting(
        "auto", "auto (an equal share where there are GPUs) or a number", ("sweep",)
    )
    cpus_per_trial: float = setting(1.0, "CPUs, and threads, of a trial", ("sweep",), gt=0)
    concurrent: int | None = setting(None, "Most trials at once.", ("sweep",), ge=1)
    new: bool = setting(False, "Start afresh where another sweep, or this one, stands.", ("sweep",))


class ReadingsSettings(BaseModel):
    """Settings of `qbench ablate --readings` beside those of a run, by the names of the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int | None = setting(
        None, "Of --readings: combinations to draw; all where they are few.", ("ablate",), ge=1, le=100_000
    )
    claims: int = setting(2, "Of --readings: combinations whose tables are measured", ("ablate",), ge=0, le=1_000)
    new: bool = setting(False, "Of --readings: start afresh where another search of readings stands.", ("ablate",))
