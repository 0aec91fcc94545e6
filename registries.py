"""Things by name, of one kind: those that qbench ships, those that entry points of other packages bring, those registered.

A package is imported only when one of its own names is asked for, so a broken one costs nothing but its own names; listing
names and their origins reads metadata alone. What qbench ships always keeps its name: another package's claim on it is
refused. A name that two packages claim belongs to neither, and is refused when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from .errors import ConfigurationError, unknown
from .names import check_name

HERE = "qbench"
Made = TypeVar("Made")


@dataclass(frozen=True)
class Entry:
    """Where a thing of one name is.

    Attributes:
        target: "module:attribute"; for what is shipped as a file, that file.
        origin: the package that brought it, with its `version` ("" where it states none).
    """

    name: str
    target: str
    origin: str
    version: str = ""


class Registry:
    """The things of one kind by name.

    Args:
        kind: as a sentence names it: "encoder".
        group: of the entry points of other packages.
        shipped: name -> target of what qbench brings itself, in the order of listings.
    """

    def __init__(self, kind: str, group: str, shipped: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self.shipped = dict(shipped)
        self._registered: dict[str, Entry] = {}

    def names(self) -> list[str]:
        """All names: those that qbench ships, then those of other packages, sorted, then those registered."""
        return list(dict.fromkeys([*self.shipped, *self.brought(), *self._registered]))

    def brought(self) -> list[str]:
        """The names that other packages bring, sorted, without those that qbench ships."""
        return sorted(name for name in self._claims() if name not in self.shipped)

    def origin(self, name: str) -> str:
        """The package that brought a name; all of them for one that several claim.

        Raises:
            ConfigurationError: an unknown name.
        """
        return " and ".join(dict.fromkeys(entry.origin for entry in self._entries(name)))

    def find(self, name: str) -> Entry:
        """Where the thing of a name is; nothing is imported.

        Raises:
            ConfigurationError: an unknown name, or one that two packages claim.
        """
        first, *others = self._entries(name)
        for other in others:
            if other.target != first.target:
                raise ConfigurationError(
                    f"The {self.kind} name '{name}' of {first.origin} ({first.target}) is taken by {other.origin} "
                    f"({other.target}) as well; remove one of the two packages."
                )
        return first

    def load(self, name: str, make: Callable[[Any], Made]) -> Made:
        """`make` of the imported thing of a name.

        Raises:
            ConfigurationError: see `find`; or whatever the import or `make` raises, as a sentence with its package.
        """
        entry = self.find(name)
        try:
            return make(_imported(entry.target))
        except ConfigurationError as error:
            raise ConfigurationError(f"The {self.kind} '{name}' of {entry.origin} cannot be used: {error}") from error
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"The {self.kind} '{name}' of {entry.origin} raised {type(error).__name__} on import: "
                f"{' '.join(str(error).split()).rstrip('.')}; {entry.target} cannot be imported, so mend, reinstall or "
                "remove that package."
            ) from error

    def register(self, name: str, target: str, origin: str) -> None:
        """Add a thing as "module:attribute" while the program runs; the same once more changes nothing.

        Raises:
            ConfigurationError: what may be no name, a name that is taken by another thing, or a target of another form.
        """
        check_name(f"a {self.kind} of {origin}", name)
        module, _, attribute = target.partition(":")
        if not module or not attribute:
            raise ConfigurationError(
                f"Expected the {self.kind} {name} of {origin} as 'module:attribute', found '{target}'; mend it there."
            )
        for taken in self._entries(name) if name in self.names() else ():
            if taken.target != target:
                raise ConfigurationError(
                    f"The {self.kind} name '{name}' of {origin} is taken by {taken.target} of {taken.origin}; "
                    "choose another name."
                )
        self._registered.setdefault(name, Entry(name, target, origin))

    def refused(self, name: str) -> list[str]:
        """What to say of other packages' claims on a name that qbench ships."""
        if name not in self.shipped:
            return []
        return [
            f"The {self.kind} name '{name}' of {claim.origin} ({claim.target}) is taken by qbench's own, which is used; "
            "rename the entry point or remove the package."
            for claim in self._claims().get(name, ())
        ]

    def _entries(self, name: str) -> tuple[Entry, ...]:
        """One for a known name, several for one that several packages claim; what is shipped asks nobody else."""
        if name in self.shipped:
            return (Entry(name, self.shipped[name], HERE),)
        claims = self._claims().get(name, ())
        found = claims or ((self._registered[name],) if name in self._registered else ())
        if not found:
            raise unknown(self.kind, name, self.names())
        return found

    def _claims(self) -> dict[str, tuple[Entry, ...]]:
        found: dict[str, tuple[Entry, ...]] = {}
        for entry in installed()[0].get(self.group, ()):
            found[entry.name] = (*found.get(entry.name, ()), entry)
        return found


def _imported(target: str) -> Any:
    module, _, attributes = target.partition("[")[0].partition(":")  # "module:attribute [extra]"
    found: Any = import_module(module.strip())
    for attribute in attributes.strip().split(".") if attributes else ():
        found = getattr(found, attribute)
    return found


@cache
def installed() -> tuple[dict[str, tuple[Entry, ...]], tuple[str, ...]]:
    """Entry points in groups of qbench by group, ordered by package; a sentence for each package whose are not legible.

    An entry point with what may be no name is left out, with a sentence as well.

    Metadata only: no package is imported. Each is read by itself, so that one with damaged metadata hides no other.
    """
    from importlib.metadata import distributions

    packages: dict[str, list[tuple[str, Entry]]] = {}
    problems = []
    for distribution in distributions():
        try:
            if "[qbench." not in (distribution.read_text("entry_points.txt") or ""):
                continue
        except (OSError, ValueError):  # not legible, so not known to be of qbench: pip's affair
            continue
        try:
            origin, version = distribution.metadata["Name"] or "", distribution.metadata["Version"] or ""
        except Exception:  # noqa: BLE001 - a folder without metadata; what it raises depends on the Python
            origin, version = "", ""
        key = re.sub(r"[-_.]+", "-", origin).lower() or f"~{len(packages)}"
        if key in packages:  # found twice on the path: Python imports the first
            continue
        origin = origin or "an installed package"
        try:
            packages[key] = [
                (point.group, Entry(point.name, point.value, origin, version)) for point in distribution.entry_points
            ]
        except Exception as error:  # noqa: BLE001 - each line of a foreign file may be anything
            packages[key] = []
            problems.append(
                f"The entry points of {origin} cannot be read ({type(error).__name__}: {error}); what it brings is left "
                "out: mend, reinstall or remove that package."
            )
    groups: dict[str, tuple[Entry, ...]] = {}
    for key in sorted(packages):
        for group, entry in packages[key]:
            if not group.startswith("qbench."):
                continue
            try:
                check_name(f"a plug-in of {entry.origin}", entry.name)
            except ConfigurationError as error:
                problems.append(f"{error} It is left out.")
                continue
            groups[group] = (*groups.get(group, ()), entry)
    return groups, tuple(problems)
