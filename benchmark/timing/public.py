"""Our training beside a method's public code, which is never part of qbench: shapes go out, its figures come back."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, reading
from ...files import write_text
from ...methods.card import shipped_card
from ...methods.machine import resolve_device
from ...methods.registry import spec
from ...text_files import read_json
from . import train
from .measure import RUNS, Row, rate
from .simulated import cohort

METHODS = ("stnet", "histogene", "bleep")  # those that have public code
OURS, PUBLIC = ".ours.json", ".public.json"
_REMEDY = "write it anew with 'qbench bench train --against public --to DIR'"


@dataclass(frozen=True)
class Written:
    """What is to be timed elsewhere: a method, where its public code is, the file of its shapes, our seconds an epoch."""

    method: str
    code: str
    path: Path
    seconds: float


def write_shapes(
    to: Path, profile: str = "fast", device: str = "auto", methods: tuple[str, ...] = METHODS
) -> list[Written]:
    """Time an epoch of ours, and write its shapes and seconds, a file each, beside the script that times the public code.

    Raises:
        ConfigurationError: an unknown profile or device.
    """
    sections, spots, pixels, epochs = train.SIZES[profile]
    device = resolve_device(device)
    simulated = cohort(sections, spots, train.FEATURES, train.GENES, pixels)
    script = files("qbench.benchmark.timing").joinpath("time_public.py")
    to.mkdir(parents=True, exist_ok=True)
    write_text(to / "time_public.py", script.read_text(encoding="utf-8"))
    done = []
    for name in methods:
        described = spec(name, profile=profile)
        for precision in train.precisions(profile):
            timer = train.Timer(described, simulated, epochs, precision, device)
            for _ in range(RUNS + 1):
                timer.ours()
            seconds = statistics.median(timer.ours_s[1:])
            shapes = {
                "method": name,
                "profile": profile,
                "steps": list(_steps(described.cls.context == "section", described.parameters, sections, spots)),
                "patch_pixels": pixels and getattr(described.parameters, "patch_size", pixels),
                "features": 0 if pixels else train.FEATURES,
                "genes": train.GENES,
                "precision": precision,
                "device": device,
                "threads": os.cpu_count() or 1,
            }
            path = to / f"{name}-{profile}-{precision}{OURS}"
            write_text(path, json.dumps({"shapes": shapes, "seconds": seconds, "compiled": timer.compiled}, indent=1))
            done.append(Written(name, _code(name), path, seconds))
    return done


def rows(folder: Path) -> list[Row]:
    """Epochs per second, ours and (as `plain`) the public code's, for whatever was timed in a folder of `write_shapes`.

    Raises:
        ConfigurationError: no shapes there, none timed yet, or figures of other shapes.
    """
    found, waiting = [], sorted(folder.glob(f"*{OURS}"))
    for path in waiting:
        public = path.with_name(path.name.replace(OURS, PUBLIC))
        if not public.exists():
            continue
        with reading("what an epoch took", path, _REMEDY):
            ours, theirs = (read_json(file, "what an epoch took", _REMEDY) for file in (path, public))
            shapes, seconds = ours["shapes"], (float(ours["seconds"]), float(theirs["seconds"]))
            if theirs["shapes"] != shapes:
                raise ConfigurationError(
                    f"Expected {public} to be of the shapes of {path.name}, found others; time the public code again."
                )
            how = f"{shapes['precision']}, compiled" if ours["compiled"] else shapes["precision"]
            label = (
                f"train {shapes['method']} ({shapes['profile']}), one epoch of {sum(shapes['steps']):,} spots, {how}"
            )
        found.append(rate(label, "epochs/s", 1, *seconds))
    if not found:
        raise ConfigurationError(
            f"Expected figures of public code (NAME{PUBLIC}) in {folder}, found {'none yet' if waiting else 'no shapes either'}; "
            + ("run time_public.py there for each NAME" + OURS if waiting else _REMEDY)
            + "."
        )
    return found


def _steps(by_section: bool, parameters: Any, sections: int, spots: int) -> Iterator[int]:
    """Spots in each step of an epoch."""
    whole, size = sections * spots, parameters.batch_size * (spots if by_section else 1)
    for start in range(0, whole, size):
        yield min(size, whole - start)


def _code(name: str) -> str:
    card = shipped_card(name)
    assert card is not None
    assert card.paper is not None
    return str(card.paper.code)
