"""Remedies and their answers, for choosing among them without a model."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tledge.ladder import Remedy

LABELS = np.arange(400) % 2

RIGHT = np.eye(2, dtype=np.float32)[LABELS]


def wrong(count: int) -> NDArray[np.float32]:
    """Answers of which `count` are not those of the float model."""
    found = RIGHT.copy()
    found[:count] = found[:count, ::-1]
    return found


def remedies(*counts: int) -> Iterator[Remedy]:
    for count in counts:
        yield Remedy(f"{count} wrong", "int8", str(count).encode())
