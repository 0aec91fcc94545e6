"""Hold the wheel against the checkout: every module and data file of the package, nothing else, nothing large."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

LARGEST = 400_000  # bytes; data sets and weights have no place in the wheel

root = Path(__file__).resolve().parent.parent
packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
folders = {"/".join(name.split(".")[1:]) for name in packages}
tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split("\n")
expected = set()
for name in filter(None, tracked):
    path = Path(name)
    parent = "" if str(path.parent) == "." else path.parent.as_posix()
    code = path.suffix == ".py" and parent in folders
    data = name == "py.typed" or (name.startswith("configs/") and path.suffix == ".yaml")
    if code or data or name.startswith("leaderboard/templates/"):
        expected.add(f"qbench/{name}")

wheel = zipfile.ZipFile(sys.argv[1])
found = {item.filename: item.file_size for item in wheel.infolist() if ".dist-info/" not in item.filename}
problems = [f"missing: {name}" for name in sorted(expected - set(found))]
problems += [f"not of the package: {name}" for name in sorted(set(found) - expected)]
problems += [f"too large: {name} ({size} bytes)" for name, size in found.items() if size > LARGEST]
print("\n".join(problems) or f"{len(found)} files, as expected")
sys.exit(bool(problems))
