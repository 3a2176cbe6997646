"""Recall of every class, and the classes that are recalled least."""

from __future__ import annotations

from dataclasses import dataclass

from tledge.metrics import statistics
from tledge.metrics.parity_gates import MIN_CLASS_IMAGES


@dataclass(frozen=True)
class Recall:
    """How many images of a class there are, and the share answered right, with its 95 % Wilson interval."""

    label: str
    images: int
    recall: float
    low: float
    high: float


def recall_of(label: str, images: int, recall: float) -> Recall:
    """A class's recall, 0..1, with its interval; `images` is at least 1."""
    return Recall(label, images, recall, *statistics.wilson(round(recall * images), images))


def weak(classes: list[Recall], accuracy: float) -> list[Recall]:
    """Classes that a model knows worse than the rest by more than chance explains, the worst first.

    Their whole interval lies below the accuracy over all classes. Fewer than 20 images say nothing.
    """
    found = [one for one in classes if one.images >= MIN_CLASS_IMAGES and one.high < accuracy]
    return sorted(found, key=lambda one: one.recall)
