"""A record's hash of itself: the sha256 that its file has while zeros stand in the hash's place."""

from __future__ import annotations

import hashlib

UNSET = "0" * 64
_PLACE = '"record": "%s"'  # as `hashes.record` is laid out


def own_hash(text: str, stated: str = UNSET) -> str:
    """The hash of a record's text in which `stated` stands as `hashes.record`: of a sound one it is what is stated."""
    return hashlib.sha256(text.replace(_PLACE % stated, _PLACE % UNSET, 1).encode()).hexdigest()
