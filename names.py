"""Names of datasets, sections, patients, protocols, methods, encoders and genes: what may be one, and what becomes of it.

A *name* is chosen for qbench (a dataset, a section, a protocol, a method): it is refused where it enters unless it can be a
path and a heading as it stands. A *label* was chosen by others (a patient, a gene, a spot): it is kept, unless it holds what
a terminal acts on, and escaped wherever it becomes part of a path.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, unquote

from .errors import ConfigurationError, QbenchError

LONGEST = 100  # characters of a name
PART_BYTES = 100  # two parts, a seed, a hash and a temporary ending stay below the 255 bytes of a file's name
UNNAMED = "unnamed"  # patient of a section whose patient nobody named; such a section may not be held out by patient
_NOBODY = {"", "nan", "na", "n/a", "<na>", "nat", "none", "null", UNNAMED}
_CUT = "%~"  # before the hash of what was too long; an escape has two hex digits there
_FORMULA = re.compile(r"'*[=+\-@]")  # a spreadsheet runs a cell that begins so


def check_name(kind: str, name: str) -> str:
    """The name, if it may be one: 1 to 100 letters of any script, digits, spaces, `.`, `_`, `-`, not `.` or `..`.

    Args:
        kind: of what, with its article: "a section".
        name: as the user wrote it.

    Raises:
        ConfigurationError: it may not.
    """
    if not name.strip() or name in (".", "..") or len(name) > LONGEST or not all(map(_plain, name)):
        raise ConfigurationError(
            f"Expected the name of {kind} to be of letters, digits, spaces, '.', '_' and '-', at most {LONGEST} in all, "
            f"found '{shown(name[: LONGEST + 1], keep='')}'; rename it."
        )
    return name


def check_labels(kind: str, labels: Iterable[str], error: type[QbenchError] = ConfigurationError) -> None:
    """Refuse labels with control characters, or others that cannot be seen.

    Raises:
        error: names the first of them.
    """
    for label in labels:
        if not label.isprintable():
            raise error(
                f"Expected the name of {kind} without control characters, found '{shown(label[: LONGEST + 1], keep='')}'; rename it."
            )


def patient_name(value: object) -> str | None:
    """A patient's name without blanks around it, or None where a cell of a table names nobody.

    Nobody: None, NaN, pandas' NA, "", blanks, and NaN, NA, N/A, None, null, unnamed in any case.

    Raises:
        ConfigurationError: a name with control characters.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 7 in a column that a gap made one of floats
    # NFC: one name typed on two systems stays one patient.
    name = "" if value is None else unicodedata.normalize("NFC", str(value)).strip()
    if name.casefold() in _NOBODY:
        return None
    check_labels("a patient", [name])
    return name


def path_part(name: str) -> str:
    """A name as part of a path: never empty, hidden, `.`, `..`, with a separator, or above 100 bytes.

    Names of ASCII letters that `check_name` lets pass stay as they are. Other characters become %XX as in a URL, which
    `name_of_part` undoes; what is still too long is cut and ends in `%~` and 16 hex digits of its sha256.
    """
    last = len(name) - 1
    edge = {0: ".", last: ". "}  # a dot in front hides a file; Windows drops dots and blanks at the end
    part = "".join(
        c if (_plain(c) or c in "=,") and c not in edge.get(i, "") else _escaped(c) for i, c in enumerate(name)
    )
    if part and len(part.encode()) <= PART_BYTES:
        return part
    end = _CUT + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    head = part.encode()[: PART_BYTES - len(end)].decode(errors="ignore")
    return head + end


def name_of_part(part: str) -> str:
    """The name that `path_part` made this of.

    Raises:
        ValueError: it was cut, so only a record knows its name.
    """
    if _CUT in part:
        raise ValueError(f"'{part}' was cut")
    return unquote(part, errors="surrogatepass")


def shown(text: str, keep: str = "\n") -> str:
    r"""Text for a terminal: control characters and others that cannot be seen become \x1b and the like, but for `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def spreadsheet_cell(text: str) -> str:
    """Text as a cell that no spreadsheet takes for a formula: an apostrophe before = + - @."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet_cell(cell: str) -> str:
    """The text that `spreadsheet_cell` made this of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _plain(character: str) -> bool:
    """A letter of any script, its marks, a digit, a space, or one of `._-`."""
    return character.isalnum() or character in " ._-" or unicodedata.category(character)[0] == "M"


def _escaped(character: str) -> str:
    return "%2E" if character == "." else quote(character, safe="", errors="surrogatepass")
