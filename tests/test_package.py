"""The package is what its folders say, and starts without the heavy imports."""

import subprocess
import sys
import tomllib

import pytest

from .support.places import ROOT

HEAVY = ("torch", "ray", "scanpy", "anndata", "pandas", "matplotlib", "timm")


def test_the_list_of_packages_is_the_list_of_folders():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    parts = ("benchmark", "configs", "datasets", "leaderboard", "methods")
    folders = {"qbench"} | {
        ".".join(("qbench", *path.parent.relative_to(ROOT).parts))
        for part in parts
        for path in (ROOT / part).rglob("__init__.py")
    }
    assert listed == folders


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["info", "qca"], ["run", "--help"], ["info", "her2st"]])
def test_commands_that_only_tell_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['qbench', *{arguments!r}]\n"
        "from qbench.benchmark.cli.entry import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout[-300:]


def test_a_wrong_word_gives_one_sentence_and_exit_code_2():
    code = "from qbench.benchmark.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--methods", "qcaa"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "Did you mean 'qca'?" in done.stderr
    assert "Traceback" not in done.stderr
