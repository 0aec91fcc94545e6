"""Time one epoch of a method's public code at the shapes that qbench was timed at; needs torch, and nothing of qbench.

python time_public.py SHAPES.ours.json ADAPTER.py --code CLONE

The adapter is a file of your own with `build(shapes)`: it imports the public modules, makes the network, the optimiser and
random inputs of those shapes, and returns `step(spots)`, one training step on so many spots. CLONE is put on Python's path.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

RUNS = 5


def main(arguments: list[str] | None = None) -> None:
    """Time the adapter's steps and write the figures beside the shapes.

    Raises:
        SystemExit: wrong arguments, or an adapter without `build`.
    """
    parser = argparse.ArgumentParser(description="Time one epoch of public code at the shapes of a file.")
    parser.add_argument("shapes", type=Path, help="NAME.ours.json that `qbench bench train --against public` wrote")
    parser.add_argument("adapter", type=Path, help="your file with build(shapes), which returns step(spots)")
    parser.add_argument("--code", type=Path, help="the clone of the public code, put on Python's path")
    given = parser.parse_args(arguments)
    ours = json.loads(given.shapes.read_text(encoding="utf-8"))
    if given.code is not None:
        sys.path.insert(0, str(given.code.resolve()))
    seconds = time_epochs(_load(given.adapter), ours["shapes"])
    found = {"shapes": ours["shapes"], "seconds": statistics.median(seconds), "runs": seconds}
    to = given.shapes.with_name(given.shapes.name.replace(".ours.json", ".public.json"))
    to.write_text(json.dumps({**found, "torch": torch.__version__}, indent=1), encoding="utf-8")
    print(f"{statistics.median(seconds):.4g} s an epoch, qbench {ours['seconds']:.4g} s; written to {to}")


def time_epochs(adapter: Any, shapes: dict[str, Any]) -> list[float]:
    """Seconds of each of five epochs, after one that is not counted, with the threads and the arithmetic of the shapes."""
    torch.set_num_threads(shapes["threads"])
    torch.set_flush_denormal(True)
    step = adapter.build(shapes)
    seconds = []
    for _ in range(RUNS + 1):
        _wait(shapes["device"])
        start = time.perf_counter()
        for spots in shapes["steps"]:
            with torch.autocast(shapes["device"], torch.bfloat16, enabled=shapes["precision"] == "bf16"):
                step(spots)
        _wait(shapes["device"])
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("adapter", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"Expected a Python file with build(shapes) at {path}, found none; write one.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "build"):
        sys.exit(f"Expected a function build(shapes) in {path}, found none; write one that returns step(spots).")
    return module


if __name__ == "__main__":
    main()
