"""What differs between two identities, in plain words: "A2's patient was P1, is P2"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...datasets.folds import SIDES

_SIDES = {"train": "training", "validation": "validation", "test": "test"}
_WORDS = {
    "version": "method version",
    "scores": "score version",
    "scaling": "scaling version",
    "bf16": "bf16 version",
    "patches version": "patch version",
    "patches size": "patch size",
    "patches microns_per_pixel": "microns per pixel",
    "patches stain": "stain treatment",
    "patches stain_version": "stain version",
    "rules panel": "panel version",
    "rules panel_size": "panel size",
    "rules headline": "genes of HVG and HEG",
    "rules markers": "markers",
    "rules technical_genes": "technical genes",
    "rules validation": "validation version",
    "rules validation_share": "validation share",
    "rules pooling": "pooling version",
    "rules target": "target version",
    "max_epochs": "max epochs",
    "external": "file of predictions",
}
_PROTOCOL = "the protocol, outside this fold"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each difference between two identities, a phrase each, sorted; none where they are equal."""
    found = sorted(set(_differences(old, new, "")))
    # These hashes follow from what else is told, so they are worth a word only where they alone changed.
    return [text for text in found if text not in (_PROTOCOL, "trials changed")] or found


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> list[str]:
    found: list[str] = []
    for key in {*old, *new}:
        a, b = old.get(key), new.get(key)
        name = f"{prefix}{key}"
        if a == b:
            continue
        if name == "protocol":
            found.append(_PROTOCOL)
        elif isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _fold_differences(a, b) if _is_fold(a) and _is_fold(b) else _differences(a, b, f"{name} ")
        else:
            found.append(f"{_named(name)} {_change(a, b)}")
    return found


def _is_fold(value: Mapping[str, Any]) -> bool:
    return set(SIDES) < set(value)


def _fold_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = [] if old["name"] == new["name"] else [f"fold {_change(old['name'], new['name'])}"]
    before, after = _places(old), _places(new)
    for section in sorted({*before, *after}):
        then, now = before.get(section, {}), after.get(section, {})
        if then == now:
            continue
        if not then or not now:
            found.append(f"{section} {'left the fold' if then else 'is new'}")
            continue
        (_, a), (_, b) = next(iter(then.items())), next(iter(now.items()))
        if _sides(then) != _sides(now):
            found.append(f"{section} was in {_sides(then)}, is in {_sides(now)}")
        if a["patient"] != b["patient"]:
            found.append(f"{section}'s patient {_change(a['patient'], b['patient'])}")
        if a["content"] != b["content"]:
            found.append(f"the data of {section} changed")
    return found


def _places(fold: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By section and side the part of the section that stands there."""
    found: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        for section, part in fold[side].items():
            found.setdefault(section, {})[side] = part
    return found


def _sides(places: Mapping[str, Any]) -> str:
    return " and ".join(
        _SIDES[side] + ("" if part["portion"] == "all" else f" ({part['spots']} spots)")
        for side, part in places.items()
    )


def _named(name: str) -> str:
    return f"{name} version" if name.startswith("reader ") else _WORDS.get(name, name)


def _change(old: Any, new: Any) -> str:
    told = _short(old), _short(new)
    if _is_plain(old) and _is_plain(new) and told[0] != told[1]:
        return f"was {told[0]}, is {told[1]}"
    return "is new" if old is None else "is gone" if new is None else "changed"


def _is_plain(value: Any) -> bool:
    """Whether a value is worth showing: no hash, and nothing nested."""
    if isinstance(value, list):
        return not any(isinstance(item, list | Mapping) for item in value)
    return not isinstance(value, Mapping) and not (isinstance(value, str) and len(value) == 64)


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
