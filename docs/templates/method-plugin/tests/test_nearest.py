"""The installed method keeps qbench's contract: it repeats itself, sees no test counts, survives saving."""

import subprocess


def test_the_method_keeps_its_contract():
    """A tick for each promise, and exit code 0."""
    done = subprocess.run(["qbench", "check", "nearest"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
