"""Which encoder a row stands on: what a table of several must say, and method by encoder as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .record import Record
from .row import RANKED_BY, Row

_NAMED = 4  # encoders that the sentence lists


def encoder_of(record: Record) -> str | None:
    """The encoder that a record's method read or trained because the run, or the publication, chose it.

    None without an encoder, and for one that belongs to the method whatever the run names (the mean colour of `colour`).
    """
    chosen = {"default", "random"} & {*(record.identity.get("encoders") or {})}
    return record.encoder.name if record.encoder and (chosen or record.identity.get("backbone")) else None


def axis_of(row: Row) -> str | None:
    """The encoder of a row, see `encoder_of`."""
    return encoder_of(row.records[0])


def encoders_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The encoders that rows stand on, by name."""
    return tuple(sorted({axis for row in rows if (axis := axis_of(row)) is not None}))


def mixed(rows: Sequence[Row]) -> str:
    """What a ranking of rows on several encoders says of itself; "" for one."""
    names = encoders_of(rows)
    if len(names) < 2:
        return ""
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return (
        f"Rows on {len(names)} encoders stand in one ranking ({listed}): between rows of two encoders a gap is the methods' and "
        "the encoders' together; --encoder NAME ranks the rows of one"
    )


@dataclass(frozen=True)
class Grid:
    """Method by encoder: `lines` are rows' names without their encoder, each axis in the order of its means.

    A line or an encoder that lacks a place has no mean, since it would be one over other places, and stands last.
    """

    lines: tuple[str, ...]
    encoders: tuple[str, ...]
    rows: dict[tuple[str, str], Row]

    def mean(self, figure: str, *, line: str | None = None, encoder: str | None = None) -> float | None:
        """Of a line over all encoders, or of an encoder over all lines; None where a place of it is empty."""
        places = [
            self.rows.get((some, other))
            for some in ((line,) if line is not None else self.lines)
            for other in ((encoder,) if encoder is not None else self.encoders)
        ]
        values = [None if row is None else row.figure(figure).mean for row in places]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known and len(known) == len(values) else None


def grid(rows: Sequence[Row], figure: str = RANKED_BY) -> Grid | None:
    """Rows that stand on an encoder, by method and encoder; None where fewer than two encoders are there."""
    encoders = encoders_of(rows)
    if len(encoders) < 2:
        return None
    places = {(row.line, axis): row for row in rows if (axis := axis_of(row)) is not None}
    found = Grid(tuple(sorted({line for line, _ in places})), encoders, places)
    sign = 1 if figure.startswith("mse") else -1

    def order(mean: float | None, name: str) -> tuple[bool, float, str]:
        return mean is None, sign * (mean or 0.0), name

    return Grid(
        tuple(sorted(found.lines, key=lambda name: order(found.mean(figure, line=name), name))),
        tuple(sorted(encoders, key=lambda name: order(found.mean(figure, encoder=name), name))),
        places,
    )
