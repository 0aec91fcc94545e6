"""Errors that a user can act on: what was expected, what was found, what to do next; each knows its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 60  # known names that a sentence can hold


class QbenchError(Exception):
    """Base of every error that the command line prints as one sentence (no traceback)."""

    exit_code = 2


class ConfigurationError(QbenchError):
    """A name, option or parameter that does not exist or is out of range."""


class DataError(QbenchError):
    """A file that is missing, damaged or does not hold what its format promises."""


class MethodError(QbenchError):
    """A method that broke its contract: shapes, non-finite predictions, an unusable checkpoint."""

    exit_code = 1


class IntegrityError(QbenchError):
    """A leak between the sides of a fold, or a checksum that does not hold."""

    exit_code = 3


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """An error for an unknown name: the closest known one, then all of them, or a few and their number if they are many."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}  # "a1" means A1, not B1
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    hint = f" Did you mean '{folded[close[0]]}'?" if close else ""
    listed = ", ".join(names) or "none"
    if len(names) > _LISTED:
        near = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=8, cutoff=0.3)]
        listed = ", ".join([*near, f"{len(names) - len(near):,} others"])
    return ConfigurationError(f"There is no {kind} named '{name}'.{hint} Known: {listed}.")
