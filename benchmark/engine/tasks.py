"""A run of several tasks of a benchmark: one run a task, and beside the benchmark's own protocol ours on the same samples."""

from __future__ import annotations

import os
from pathlib import Path

from ...datasets.protocol import read_protocol
from ...datasets.registry import DATASETS
from ...errors import ConfigurationError, DataError, unknown
from ..settings import RunSettings

BENCHMARK = "hest-bench"  # a dataset a task: hest-bench-IDC
BESIDE = "patient"


def task_names() -> list[str]:
    """The tasks that have a card."""
    return [name.removeprefix(f"{BENCHMARK}-") for name in DATASETS.shipped if name.startswith(f"{BENCHMARK}-")]


def dataset_of(task: str) -> str:
    """The name of a task's dataset.

    Raises:
        ConfigurationError: an unknown task.
    """
    if task not in task_names():
        raise unknown(f"task of {BENCHMARK}", task, task_names())
    return f"{BENCHMARK}-{task}"


def runs_of(options: RunSettings) -> tuple[RunSettings, ...]:
    """The runs that the options name: themselves; or one a task, each on its folder; or these and ours beside.

    Raises:
        ConfigurationError: an unknown task, or a dataset named beside tasks.
        DataError: no folder of a task.
    """
    runs = [_on(task, options) for task in dict.fromkeys(options.tasks)] if options.tasks else [options]
    if read_protocol(options.protocol).held_out != "splits":
        return tuple(runs)
    return tuple(run.model_copy(update={"protocol": name}) for run in runs for name in (run.protocol, BESIDE))


def _on(task: str, options: RunSettings) -> RunSettings:
    dataset = dataset_of(task)
    if options.dataset != RunSettings.model_fields["dataset"].default:
        raise ConfigurationError(
            f"--tasks names the datasets {dataset} and so on; leave out --dataset {options.dataset}."
        )
    folder = options.data_dir or (Path(os.environ["QBENCH_DATA"]) if os.environ.get("QBENCH_DATA") else None)
    if folder is None or not (folder / task).is_dir():
        raise DataError(
            f"Expected task {task} in {'a folder' if folder is None else folder / task}, found none; fetch it with 'qbench data fetch "
            f"{BENCHMARK} --tasks {task} --to DIR', then name DIR with --data-dir."
        )
    return options.model_copy(update={"tasks": (), "dataset": dataset, "data_dir": folder / task})
