"""The open board: bundles of many people as one board, with who ran each row, and whether others got the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ...errors import IntegrityError
from ...leaderboard.record import Record
from ...leaderboard.render import render
from ...leaderboard.summarise import summarise
from .bundle import CONTENTS, Submitted, check_bundle, submitted


def bundles(folder: Path) -> list[Path]:
    """The bundles below a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{CONTENTS}"))


def open_board(folder: Path) -> str:
    """The board of all bundles below a folder, as Markdown: its tables, then who ran what.

    A cell in several bundles counts once, as the one whose predictions are given, else as the first by its bundle's name has it;
    the others are compared with it.

    Raises:
        IntegrityError: a bundle that does not hold; the first contradiction of each is named.
        ConfigurationError, DataError: a bundle that cannot be read.
    """
    problems = [
        f"{path.name}/{found[0].cell}: {found[0].message}" for path in bundles(folder) if (found := check_bundle(path))
    ]
    if problems:
        raise IntegrityError(f"Expected bundles that verify in {folder}, but {'; '.join(problems)}.")
    by_cell: dict[str, list[Submitted]] = defaultdict(list)
    for path in bundles(folder):
        for one in submitted(path):
            by_cell[one.record.cell].append(one)
    shown = {cell: sorted(ones, key=lambda one: not one.verified) for cell, ones in by_cell.items()}
    tables = summarise([ones[0].record for ones in shown.values()])
    return "\n".join([render(tables, "md").rstrip(), "", "## Who ran what", "", *_provenance(shown.values()), ""])


def _provenance(shown: Iterable[list[Submitted]]) -> list[str]:
    """A line for each row, encoder and sender: how many cells, how sure, and what others got."""
    lines: dict[tuple[str, ...], list[tuple[Submitted, list[Submitted]]]] = defaultdict(list)
    for first, *others in shown:
        record, bundle = first.record, first.bundle
        protocol = f"{record.protocol.name} ({record.protocol.hash[:8]})"
        encoder = record.encoder.name if record.encoder else ""
        lines[protocol, record.method.label, encoder, bundle.by, bundle.on, bundle.qbench, bundle.created].append(
            (first, others)
        )
    out = ["| protocol | row | encoder | by | on | qbench | date | cells | verified | again by others |"]
    out.append("|---|---|---|---|---|---|---|---:|---:|---|")
    for key, cells in sorted(lines.items()):
        verified = sum(first.verified for first, _ in cells)
        words = (*key, str(len(cells)), str(verified), _again(cells))
        out.append(f"| {' | '.join(words)} |")
    return out


def _again(cells: list[tuple[Submitted, list[Submitted]]]) -> str:
    """What other bundles have of the same cells: how many are equal, and how far apart the HVG figures are of those that are not."""
    pairs = [(first.record, other.record) for first, others in cells for other in others]
    apart = [_gap(a, b) for a, b in pairs if a.hashes.predictions != b.hashes.predictions]
    if not pairs:
        return ""
    equal = f"{len(pairs) - len(apart)} of {len(pairs)} equal"
    return f"{equal}, HVG up to {max(apart):.3f} apart" if apart else equal


def _gap(ours: Record, theirs: Record) -> float:
    """The largest difference of a section's HVG correlation between two records of a cell; 0 where either has none."""
    values = [
        (scores["pcc_hvg"], theirs.scores[section].get("pcc_hvg"))
        for section, scores in ours.scores.items()
        if section in theirs.scores and scores.get("pcc_hvg") is not None
    ]
    return max((abs(a - b) for a, b in values if a is not None and b is not None), default=0.0)
