"""Errors that a user can act on: what was expected, what was found, what to do next; each knows its exit code."""

from __future__ import annotations

import difflib
import errno
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LISTED = 60  # known names that a sentence can hold
_LONGEST = 100  # letters of a name that is worth a guess


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
    listed = ", ".join(names) or "none"
    if len(names) > _LISTED:
        folded = {each.lower(): each for each in names}
        near = [folded[each] for each in difflib.get_close_matches(name[:_LONGEST].lower(), folded, n=8, cutoff=0.3)]
        listed = ", ".join([*near, f"{len(names) - len(near):,} others"])
    return ConfigurationError(f"There is no {kind} named {short(name)}.{close_to(name, names)} Known: {listed}.")


def close_to(name: object, known: Iterable[str]) -> str:
    """The words " Did you mean 'A1'?" with the closest of the known names, or nothing where none is close."""
    if not isinstance(name, str) or len(name) > _LONGEST:
        return ""
    folded = {known_name.lower(): known_name for known_name in known}  # "a1" means A1, not B1
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    return f" Did you mean '{folded[close[0]]}'?" if close else ""


def short(value: object) -> str:
    """A value as a sentence shows it: its repr, at once and cut short however large or nested it is."""
    return _shown.repr(value)


_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxstring, _shown.maxother, _shown.maxlong = 2, 80, 80, 40


def reason(error: BaseException) -> str:
    """What a library's error says, as the part of a sentence: its first line, cut short, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip().rstrip(".") if lines else ""
    # A KeyError says no more than the key.
    return type(error).__name__ if not text else f"{type(error).__name__} {text}"[:300] if _bare(error) else text[:300]


def _bare(error: BaseException) -> bool:
    return isinstance(error, LookupError | AssertionError | AttributeError)


@contextmanager
def reading(what: str, path: object, remedy: str) -> Iterator[None]:
    """Turns whatever reading a file raises into one sentence: damaged bytes reach every corner of a format's library.

    Args:
        what: the file is to be: "scores".
        path: the file, as the sentence names it.
        remedy: what to do, the last words of the sentence: "run the cell again".

    Raises:
        DataError: reading failed in any way; errors of qbench pass as they are.
    """
    try:
        yield
    except QbenchError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise  # of what is written meanwhile
        end = "" if remedy.endswith("?") else "."
        raise DataError(f"Expected {what} in {path}, but it cannot be read: {reason(error)}; {remedy}{end}") from error
