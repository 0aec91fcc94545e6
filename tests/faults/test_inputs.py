"""Damaged and hostile inputs end in one sentence: no traceback, no crash, no endless wait, no memory without bound.

What qbench stored is told to be damaged, or gives what it gave: nothing changes in silence.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as some
from qbench.benchmark.cli.entry import app
from qbench.datasets.readers.tables import read_spots
from qbench.errors import QbenchError
from qbench.yaml_files import read_yaml
from typer.testing import CliRunner

from .apart import outcome
from .boundaries import boundaries
from .mutations import damaged
from .stored import stored_kinds
from .table import Tally

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # as many as were asked for


def test_no_damaged_input_gets_through(tmp_path: Path, inputs: int, seed: int, keep: Path) -> None:
    rng, tally = random.Random(seed), Tally(seed, keep)
    found = list(boundaries(tmp_path / "sound"))
    for boundary in found:
        assert outcome(lambda b=boundary: (b.read(b.folder), "")[1], tmp_path / "log") == "accepted", (
            f"{boundary.name}: {(tmp_path / 'log').read_text()}"
        )
    for number, boundary in zip(range(inputs), cycle(rng.sample(found, len(found))), strict=False):
        folder = tmp_path / "tried"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(boundary.folder, folder)
        path = folder / boundary.file
        path.write_bytes(damaged(path.read_bytes(), rng))
        shutil.rmtree(folder / "cache", ignore_errors=True)
        became = outcome(lambda b=boundary, f=folder: (b.read(f), "")[1], folder / "log.txt")
        tally.count(boundary.name, became in ("accepted", "refused"), became, number, folder)
    print(f"\n{tally}")
    assert tally.failed == []


def test_nothing_stored_changes_in_silence(tmp_path: Path, inputs: int, seed: int, keep: Path) -> None:
    rng, tally = random.Random(seed), Tally(seed, keep)
    found = list(stored_kinds(tmp_path / "sound"))
    for number, (name, sound, read) in zip(range(inputs // 2), cycle(found), strict=False):
        folder = tmp_path / "tried" / sound.name
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(sound, folder)
        files = sorted(
            p for p in folder.rglob("*") if p.is_file() and p.stat().st_size and not p.name.startswith(".lock")
        )
        path = rng.choice(files)
        before = path.stat()
        if rng.random() < 0.2:
            other = rng.choice(files)
            path.write_bytes(other.read_bytes())  # exchanged
        else:
            path.write_bytes(damaged(path.read_bytes(), rng))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        became = outcome(lambda r=read, f=folder: r(f), tmp_path / "log.txt")
        if became not in ("accepted", "refused"):
            shutil.copy(tmp_path / "log.txt", folder / "log.txt")
        tally.count(f"{name}", became in ("accepted", "refused"), f"{path.name} {became}", number, folder)
    print(f"\n{tally}")
    assert tally.failed == []


def explore(check: Callable[[Any], None], values: Any, most: int, seed: int) -> None:
    """Have hypothesis look for a value that `check` fails with."""
    run = hypothesis.settings(
        max_examples=most, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )(given(values)(check))
    hypothesis.seed(seed)(run)()


SCALARS = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_subnormal=False)
    | some.text(max_size=20)
    | some.dates()
)
KEYS = some.sampled_from(["methods", "dataset", "seeds", "max-epochs", "out", "workers", "target"]) | some.text(
    max_size=8
)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=4)
)


def test_values_of_a_config_are_settings_or_one_sentence(tmp_path: Path, inputs: int, seed: int) -> None:
    path = tmp_path / "run.yaml"

    def check(values: Any) -> None:
        path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        one_sentence(["run", "--dry-run", "--methods", "mean", "--config", str(path)])

    explore(check, some.dictionaries(KEYS, VALUES, max_size=3) | VALUES, inputs // 3, seed)


def test_text_that_may_be_yaml_or_a_table(tmp_path: Path, inputs: int, seed: int) -> None:
    path = tmp_path / "any.csv"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        for read in (lambda: read_yaml(path, "anything"), lambda: read_spots(path)):
            told = ""
            try:
                read()
            except QbenchError as error:
                told = str(error)
            assert "\n" not in told
            assert len(told) < 2000

    cells = some.text(max_size=6) | some.sampled_from(["1", "-1e999", "nan", '"', "0x0", "\x1b[2J"])
    rows = some.lists(some.lists(cells, max_size=5), max_size=5)
    tables = rows.map(lambda rows: "spot,x,y\n" + "\n".join(",".join(row) for row in rows))
    words = some.text(alphabet="&*!|>{}[]:-,?%@`'\"# \n\tab01.~\x00é", max_size=60)
    explore(
        check,
        (tables | words).map(lambda t: t.encode("utf-8", "surrogatepass")) | some.binary(max_size=60),
        inputs * 3,
        seed,
    )


FLAGS = ["--methods", "--dataset", "--protocol", "--target", "--seeds", "--sections", "--encoder", "--device", "--out",
         "--max-epochs", "--microns-per-pixel", "--workers", "--select", "--profile", "--plugin", "--encoder-weights"]  # fmt: skip


def test_flags_are_understood_or_one_sentence(inputs: int, seed: int) -> None:
    words = some.text(max_size=12) | some.sampled_from(
        [
            "inf",
            "-1",
            "1e400",
            "\x1b]0;x\a",
            "../..",
            "a[b=",
            "qca[alpha=nan]",
            "x" * 5000,
            "=1+1",
            "{}",
            "ridge[",
            "0,0,",
        ]
    )

    def check(pair: tuple[str, str]) -> None:
        one_sentence(["run", "--dry-run", *(["--methods", "mean"] if pair[0] != "--methods" else []), *pair])

    explore(check, some.tuples(some.sampled_from(FLAGS), words), inputs // 3, seed)


def one_sentence(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    error = done.exception
    if error is not None and not isinstance(error, SystemExit):
        if isinstance(error, OSError) and error.filename:
            return  # of a path that cannot be: the command's entry says so in one sentence
        assert isinstance(error, QbenchError), repr(error)
        assert len(str(error).splitlines()) <= 1
        assert len(str(error)) < 2000, words[2]
