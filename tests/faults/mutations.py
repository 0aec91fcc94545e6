"""Damage as disks, networks and people do it, drawn from a seed."""

from __future__ import annotations

import random


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes with one to three faults: bits flipped, bytes set, cut, repeated, dropped, emptied or put between."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not out:
            return bytes(out)
        at, length = rng.randrange(len(out)), rng.choice((1, 2, 8, 64, 512))
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 9, 10, 127, 128, 255))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            del out[at : at + length]
        elif kind == 5:
            out[at : at + length] = bytes(min(length, len(out) - at))
        else:
            out[at:at] = rng.choice(
                (b"\x1b[31m", b"\xff\xfe", b'"', b"\n", b"\t", b"-1", b"1e999", b"../", b"\0", b"&a *a")
            )
    return bytes(out)
