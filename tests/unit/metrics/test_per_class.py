"""Which classes are weak, beyond chance."""

from __future__ import annotations

from tledge.metrics import per_class
from tledge.metrics.per_class import Recall


def recall(label: str, images: int, share: float) -> Recall:
    return per_class.class_recall(label, images, share)


def test_weak_is_more_than_chance() -> None:
    classes = [
        recall("sure", 100, 0.6),
        recall("chance", 100, 0.85),
        recall("few", 10, 0.1),
        recall("best", 90, 1),
    ]
    assert [one.label for one in per_class.weak_classes(classes, 0.9)] == ["sure"]
    assert per_class.weak_classes(classes, 0.5) == []
    low = [recall("worse", 100, 0.3), recall("worst", 100, 0.1)]
    assert [one.label for one in per_class.weak_classes(low, 0.9)] == ["worst", "worse"]


def test_class_of_just_enough_images_below_the_accuracy_is_weak() -> None:
    """20 images count, and an interval that ends at the accuracy itself is not below it."""
    weak = Recall("weak", 20, 0.5, 0.3, 0.7)
    assert per_class.weak_classes([weak], 0.71) == [weak]
    assert per_class.weak_classes([weak], 0.7) == []
    assert per_class.weak_classes([Recall("few", 19, 0.5, 0.3, 0.7)], 0.71) == []
