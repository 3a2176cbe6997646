"""The microcontroller project of a small integer model."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.helpers import fake_integer

ARENA = 16_000

MODEL = fake_integer.model()


def as_bytes(answers: Any) -> Any:
    return np.round(answers * 256).astype(np.uint8)
