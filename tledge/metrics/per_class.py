"""Compute the recall of every class, and find the classes that are recalled least."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tledge.metrics import statistics
from tledge.metrics.parity_gates import MIN_CLASS_IMAGES


@dataclass(frozen=True)
class Recall:
    """Recall of a class: its images, the share predicted right, and its 95 % Wilson interval (low, high)."""

    label: str
    images: int
    recall: float
    low: float
    high: float


def class_recall(label: str, images: int, recall: float) -> Recall:
    """Add the 95 % Wilson interval to a recall in 0..1 on so many images, at least 1."""
    return Recall(label, images, recall, *statistics.wilson(round(recall * images), images))


def weak_classes(recalls: Iterable[Recall], accuracy: float) -> list[Recall]:
    """Find the classes that are worse than the rest by more than chance explains, the worst first.

    Their whole interval lies below `accuracy`, that over all classes. Classes of fewer than 20 images do
    not count.
    """
    weak = [recall for recall in recalls if recall.images >= MIN_CLASS_IMAGES and recall.high < accuracy]
    return sorted(weak, key=lambda recall: recall.recall)
