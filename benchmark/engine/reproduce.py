"""Run a stored cell again from its record, and say whether it lands on the same numbers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...datasets.cache import ArrayCache
from ...datasets.folds import make_folds
from ...datasets.hashing import canonical_hash
from ...datasets.protocol import Protocol
from ...errors import ConfigurationError
from ...leaderboard.record import Record, read_record
from ...methods.encoders.card import DEFAULT
from ...methods.machine import EXACT
from ..settings import RunSettings
from .changes import differences
from .identity import data_hash, read_spots, rules_of
from .plan import Ground
from .reporter import Reporter
from .settle import Settled, open_data
from .task import CellTask
from .worker import run_apart

TOLERANCE = 0.01  # of a section's PCC and MSE on another machine: within the spread over seeds of every method here


@dataclass(frozen=True)
class Reproduction:
    """What came of running a cell again.

    Attributes:
        equal: same hash of predictions and same scores.
        within: every section's pcc_hvg, pcc_heg, pcc_all and mse within `TOLERANCE`.
        largest: the largest of those differences.
        changed: what of the identity differs from the record's, in words.
    """

    record: Record
    again: Record
    equal: bool
    within: bool
    largest: float
    changed: tuple[str, ...]


def reproduce(
    folder: Path,
    data_dir: Path | None,
    encoder_weights: tuple[str, ...],
    dataset: str | None,
    plugins: tuple[str, ...],
    reporter: Reporter,
    test_on: str | None = None,
    test_data_dir: Path | None = None,
) -> Reproduction:
    """Run the cell of a folder again, in a temporary runs folder.

    Raises:
        ConfigurationError: a folder without a record, a failed or external cell, or a fold that the data no longer
            have.
    """
    path = folder if folder.is_file() else folder / "record.json"
    if not path.is_file():
        raise ConfigurationError(
            f"Expected a cell's folder with record.json at {folder}, found none; 'qbench list runs' names them."
        )
    record = read_record(path, reporter.note)  # of an edited one the comparison tells what is other
    if record.status != "done" or record.method.kind == "external":
        raise ConfigurationError(
            f"Expected a finished cell of a method at {folder}, found {'a failed' if record.status != 'done' else 'an external'} one; "
            "name another cell."
        )
    with tempfile.TemporaryDirectory(prefix="qbench-reproduce-") as runs:
        options = options_of(record, data_dir, encoder_weights, dataset, plugins, Path(runs), test_on, test_data_dir)
        task = task_of(record, options)
        reporter.start(1, 0)
        try:
            again = run_apart(task, lambda kind, values: reporter.cell_event(task, kind, values))
            reporter.cell_done(task, again)
        finally:
            reporter.finish()
    return _compare(record, again)


def options_of(
    record: Record,
    data_dir: Path | None,
    encoder_weights: tuple[str, ...],
    dataset_name: str | None,
    plugins: tuple[str, ...],
    runs: Path,
    test_on: str | None = None,
    test_data_dir: Path | None = None,
) -> RunSettings:
    """The options under which a run makes a record's cell, but for its method, protocol and sections."""
    encoder = record.encoder
    runtime = "auto"
    if encoder is not None and encoder.weights != "none":
        trained = not encoder.frozen and encoder.evaluation != EXACT
        runtime = encoder.evaluation if trained else f"{encoder.runtime}:{encoder.dtype}"
    if (
        encoder is not None
        and encoder.weights == "random"
        and not encoder_weights
        and record.method.name != "untrained"
    ):
        encoder_weights = ("random",)
    return RunSettings(
        dataset=dataset_name or record.protocol.dataset,
        data_dir=data_dir,
        test_on=None if record.protocol.test_dataset is None else test_on or record.protocol.test_dataset,
        test_data_dir=test_data_dir,
        target=record.protocol.target,
        profile=record.method.profile,
        encoder=encoder.name if encoder is not None and encoder.frozen else DEFAULT,
        encoder_weights=encoder_weights,
        microns_per_pixel=record.patches.microns_per_pixel if record.patches else None,
        stain=record.patches.stain if record.patches else "none",
        runtime=runtime,
        seeds=(record.seed,),
        max_epochs=record.max_epochs,
        select=record.select,
        device="cuda" if record.device.startswith("cuda") else "cpu",
        precision="bf16" if record.precision == "bf16" else "fp32",
        out=runs,
        plugin=plugins,
    )


def task_of(record: Record, options: RunSettings) -> CellTask:
    """What a run of today would do for a record's method, fold and seed, on the data at hand; `options`: see `options_of`.

    Raises:
        ConfigurationError: sections or a fold that the data at hand lack.
    """
    cache = ArrayCache()
    dataset = open_data(options, cache)
    known = {info.id: info.patient for info in dataset.sections}
    absent = [name for name in record.protocol.sections if name not in known]
    if absent:
        raise ConfigurationError(
            f"The record is of sections {', '.join(absent)}, which this folder of {options.dataset} lacks; name the right --data-dir."
        )
    patients = {name: known[name] for name in record.protocol.sections}
    spots = read_spots(dataset, patients, cache)
    # The protocol as it was asked for, on the data and under the rules of today: what differs is named in the end.
    asked = {name: value for name, value in record.protocol.definition.items() if name in Protocol.model_fields}
    today = {
        "patients": patients,
        "data": data_hash(spots),
        "rules": rules_of(dataset),
    }
    protocol = Protocol.model_validate(asked | today)
    folds = make_folds(protocol, patients)
    fold = next((fold for fold in folds if fold.name == record.fold.name), None)
    if fold is None:
        raise ConfigurationError(
            f"The record is of fold {record.fold.name}, which the data at hand do not make; check --data-dir."
        )
    settled = Settled(protocol, folds, record.protocol.leaky, [], patients, spots)
    precision: Literal["fp32", "bf16"] = "bf16" if options.precision == "bf16" else "fp32"
    ground = Ground(options, dataset, settled, options.device, precision, cache)
    resolved = ground.resolve(record.method.label)
    if record.encoder is not None and not record.encoder.frozen:
        resolved = resolved.stepping("compiled" if record.encoder.runtime == "compiled" else "eager")
    task = ground.task(resolved, fold, record.seed)
    changes: dict[str, Any] = {
        "threads": record.threads,
        "settings": options.model_copy(update={"keep_models": False}),
        "tuned": record.tuned,
    }
    if "tuned" in record.identity:  # of a sweep's choice, which is taken from the record
        identity = {**task.identity, "tuned": record.identity["tuned"]}
        changes |= {"identity": identity, "cell": canonical_hash(identity)}
    return task.model_copy(update=changes)


def _compare(record: Record, again: Record) -> Reproduction:
    largest = 0.0
    for section, figures in record.scores.items():
        new = again.scores.get(section, {})
        for name in ("pcc_hvg", "pcc_heg", "pcc_all", "mse"):
            a, b = figures.get(name), new.get(name)
            if (a is None) != (b is None):
                largest = float("inf")
            elif a is not None and b is not None:
                largest = max(largest, abs(a - b))
    equal = (record.hashes.predictions, record.hashes.scores) == (again.hashes.predictions, again.hashes.scores)
    within = again.status == "done" and largest <= TOLERANCE
    return Reproduction(record, again, equal, within, largest, tuple(differences(record.identity, again.identity)))
