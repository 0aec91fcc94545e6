"""What a suite tried, survived and failed, with the seed and where failing inputs are kept."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path


class Tally:
    """Counts outcomes by kind, and keeps what failed."""

    def __init__(self, seed: int, keep: Path) -> None:
        self._seed, self._keep = seed, keep
        self._tried: Counter[str] = Counter()
        self.failed: list[str] = []

    def count(self, kind: str, fine: bool, what: str, number: int, kept: Path | None = None) -> None:
        """One try: `what` became of it, its number in the seed, and a folder to keep where it failed."""
        self._tried[kind] += 1
        if fine:
            return
        place = ""
        if kept is not None:
            to = self._keep / f"{kind.replace(' ', '-')}-{self._seed}-{number}"
            shutil.rmtree(to, ignore_errors=True)
            shutil.copytree(kept, to)
            place = f", kept in {to}"
        self.failed.append(f"{kind}: {what} (seed {self._seed}, number {number}{place})")

    def __str__(self) -> str:
        rows = [f"{'kind':24} {'tried':>6} {'failed':>6}   seed {self._seed}"]
        for kind, tried in sorted(self._tried.items()):
            rows.append(f"{kind:24} {tried:6} {sum(line.startswith(f'{kind}: ') for line in self.failed):6}")
        rows.append(f"{'all':24} {sum(self._tried.values()):6} {len(self.failed):6}")
        return "\n".join([*rows, *self.failed])
