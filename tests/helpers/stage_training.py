"""A stage on the small network, its rates, and labels that are uneven."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.helpers.fake_models import images
from tledge import config
from tledge.training import batches, optimizer


def one_hot(count: int = 16, classes: int = 3) -> Any:
    return np.eye(classes, dtype=np.float32)[np.arange(count) % classes]


def rate(steps: int, **keys: Any) -> Any:
    """The learning rate at a step of a stage that takes `steps` steps in all."""
    made = optimizer._rate(config.Stage(**keys), steps)
    return made if isinstance(made, float) else lambda step: float(made(step))


UNEVEN = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])


def uneven(rows: Any = None) -> batches.Examples:
    labels = np.eye(3, dtype=np.float32)[UNEVEN]
    return batches.Examples(images(10), labels, np.arange(10) if rows is None else rows)
