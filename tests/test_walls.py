"""Dependencies point one way: `ARCHITECTURE.md` draws it, this holds it; and the holder itself is tried on made-up trees."""

import re
from pathlib import Path

import pytest

from .support.places import ROOT
from .support.walls import LONGEST, circles, faults


def test_the_package_keeps_its_walls() -> None:
    assert faults(ROOT) == []


def test_where_the_architecture_says_that_things_are_there_they_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Where is")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w./-]+(?:/|\.py|/board))`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small package that breaks no rule."""
    for path, text in {
        "__init__.py": "from .version import __version__\ndef __getattr__(name):\n    from .benchmark import api\n",
        "errors.py": "class QbenchError(Exception): ...\n",
        "version.py": "__version__ = '1'\n",
        "names.py": "from .errors import QbenchError\ndef check(name): raise QbenchError\n",
        "plot.py": "from .leaderboard.table import Table\ndef board(): return Table()\n",
        "benchmark/__init__.py": "",
        "benchmark/api.py": "from .engine.run import execute\ndef run(): return execute(1)\n",
        "benchmark/cli/__init__.py": "",
        "benchmark/cli/run.py": "from .. import api\nfrom ...datasets.fold import Fold\nFLAG = Fold()\n",
        "benchmark/engine/__init__.py": "",
        "benchmark/engine/run.py": "from ...methods import qca\ndef execute(n): return qca.QCA\n",
        "benchmark/sweep/__init__.py": "",
        "benchmark/sweep/space.py": "from ..engine import run\nRUN = run.execute(2)\n",
        "benchmark/external/__init__.py": "",
        "benchmark/external/score.py": "NAME = 1\n",
        "methods/__init__.py": "",
        "methods/qca.py": "from ..datasets.cohort import Cohort\nclass QCA(Cohort): ...\n",
        "datasets/__init__.py": "",
        "datasets/cohort.py": "from ..names import check\nclass Cohort: ...\n",
        "datasets/fold.py": "class Fold: ...\n",
        "leaderboard/__init__.py": "",
        "leaderboard/table.py": "from ..errors import QbenchError\nclass Table: ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert faults(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("where", "text", "expected"),
    [
        ("leaderboard/table.py", "from ..datasets.fold import Fold\nX = 1", "leaderboard.table imports datasets.fold"),
        ("leaderboard/table.py", "from ..benchmark.engine import run\nX = 1", "leaderboard.table imports benchmark.engine.run"),
        ("leaderboard/table.py", "def f():\n    from ..methods.qca import QCA\n    return QCA()", "imports methods.qca"),
        ("methods/qca.py", "from ..datasets.fold import Fold\nX = 1", "methods.qca imports datasets.fold: methods knows"),
        ("methods/qca.py", "from ..leaderboard.table import Table\nX = 1", "methods.qca imports leaderboard.table"),
        ("methods/qca.py", "from .. import benchmark\nX = 1", "methods.qca imports benchmark"),
        ("datasets/fold.py", "from ..methods.qca import QCA\nX = 1", "datasets.fold imports methods.qca"),
        ("datasets/fold.py", "from .. import __version__\nX = 1", "datasets.fold imports qbench's __init__"),
        ("names.py", "from .datasets.fold import Fold\nX = 1", "names imports datasets.fold: the root stands below"),
        ("leaderboard/table.py", "from ..plot import board\nX = 1", "leaderboard.table imports plot, which is the users' face"),
        ("plot.py", "from .methods.qca import QCA\nX = 1", "plot imports methods.qca: it knows errors, leaderboard only"),
        ("errors.py", "from .names import check\nX = 1", "errors imports names"),
        ("benchmark/engine/run.py", "from ..sweep.space import RUN\nX = 1", "imports benchmark.sweep.space, which is above it"),
        ("benchmark/sweep/space.py", "from ..external.score import NAME\nX = 1", "which is beside it"),
        ("benchmark/api.py", "from .cli.run import FLAG\nX = 1", "benchmark.api imports benchmark.cli.run, which is above it"),
        ("benchmark/extra/new.py", "from ..engine import run\nX = 1", "benchmark.extra is on no floor"),
        ("tools.py", "X = 1", "tools.py stands at the root"),
        ("datasets/long.py", "X = 1\n" * LONGEST, f"datasets/long.py has {LONGEST + 1} lines"),
        ("datasets/again.py", '"""Old name."""\nfrom .fold import Fold\n__all__ = ["Fold"]', "datasets/again.py only forwards"),
        ("datasets/again.py", "from . import fold\nFold = fold.Fold", "datasets/again.py only forwards"),
        ("datasets/again.py", "def f(a, b):\n    from .fold import Fold\n    return Fold(a, b)", "datasets/again.py only forwards"),
        ("datasets/fold.py", "from qbench.errors import QbenchError\nX = 1", "datasets/fold.py:1 imports qbench by name"),
    ],
)  # fmt: skip
def test_a_breach_is_told(tree: Path, where: str, text: str, expected: str) -> None:
    (tree / where).parent.mkdir(exist_ok=True)
    (tree / where).write_text(text + "\n")
    told = faults(tree)
    assert any(expected in sentence for sentence in told), told


def test_a_circle_is_told_once_even_where_one_import_is_inside_a_function(tree: Path) -> None:
    (tree / "datasets/fold.py").write_text("from .cohort import Cohort\nclass Fold(Cohort): ...\n")
    (tree / "datasets/cohort.py").write_text("class Cohort:\n    def f(self):\n        from .fold import Fold\n")
    assert faults(tree) == ["a circle: datasets.cohort -> datasets.fold -> datasets.cohort"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
