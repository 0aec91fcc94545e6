"""The console script: what a command leaves in memory is not looked through for garbage when it has ended."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import atexit, gc
atexit.register(lambda: print("at the end", gc.get_freeze_count() > 1000))  # called after what is registered later
from qbench.benchmark.cli import entry, start
entry.main = lambda: print("meanwhile", gc.get_freeze_count() > 1000)
start.main()
"""


def test_objects_are_frozen_at_the_end_and_not_before() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["meanwhile False", "at the end True"]
