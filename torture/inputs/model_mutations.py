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


def mutate_bytes(model: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Flip bits, insert or remove bytes, cut, or overwrite with zeros or with another part."""
    at = rng.randrange(len(model))
    size = min(len(model) - at, rng.choice((1, 4, 64, 4096)))
    kind = rng.choice(("flip", "flips", "cut", "zeros", "number", "moved", "gone", "put in"))
    if kind in ("flip", "flips"):
        flipped = bytearray(model)
        for _ in range(1 if kind == "flip" else 30):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return kind, bytes(flipped)
    if kind == "cut":
        return kind, model[:at]
    other = rng.randrange(len(model))
    middle = {
        "zeros": bytes(size),
        "number": rng.choice(NUMBERS).to_bytes(4, "little", signed=True),
        "moved": model[other : other + size],
        "gone": b"",
        "put in": rng.randbytes(size) + model[at : at + size],
    }[kind]
    removed = 4 if kind == "number" else size
    return kind, model[:at] + middle + model[at + removed :]
