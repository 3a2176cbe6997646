"""Model files changed by bytes, and what every kind of structural change has in common."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

NUMBERS = (-(2**31), -1000, -2, -1, 0, 1, 2, 3, 7, 255, 65536, 10**6, 10**9, 2**31 - 1)
"""What a dimension, an index or a count becomes."""

FLOATS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("nan"))

Change = Callable[[Any, random.Random], None]
"""Changes a parsed model in place."""


def by_bytes(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Bits flipped, bytes put in or taken out, a cut, a stretch of zeros or of another place."""
    at = chance.randrange(len(whole))
    size = min(len(whole) - at, chance.choice((1, 4, 64, 4096)))
    kind = chance.choice(("flip", "flips", "cut", "zeros", "number", "moved", "gone", "put in"))
    if kind in ("flip", "flips"):
        made = bytearray(whole)
        for _ in range(1 if kind == "flip" else 30):
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        return kind, bytes(made)
    if kind == "cut":
        return kind, whole[:at]
    other = chance.randrange(len(whole))
    middle = {
        "zeros": bytes(size),
        "number": chance.choice(NUMBERS).to_bytes(4, "little", signed=True),
        "moved": whole[other : other + size],
        "gone": b"",
        "put in": chance.randbytes(size) + whole[at : at + size],
    }[kind]
    taken = 4 if kind == "number" else size
    return kind, whole[:at] + middle + whole[at + taken :]
