"""Labels of somebody else's model: read, counted, and noticed where their order does not fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tledge.adoption import label_order
from tledge.errors import RecipeError

LABELS = np.repeat(np.arange(3), 20)
NAMES = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0 daisy\n1 red rose\n", ("daisy", "red rose")),
        ("daisy\r\nrose\r\n", ("daisy", "rose")),
        ("\ufeffdaisy\nrose", ("daisy", "rose")),
        ("10 downing street\nrose\n", ("10 downing street", "rose")),
        ("1 daisy\n2 rose\n", ("1 daisy", "2 rose")),
    ],
)
def test_labels_are_read(text: str, labels: tuple[str, ...]) -> None:
    assert label_order.read(text) == labels


def test_label_too_few_is_named() -> None:
    with pytest.raises(RecipeError, match=r"^labels.txt: 1 label too few. The model has 3 outputs.*cat, dog"):
        label_order.require_count(NAMES[:2], 3, "labels.txt")
    label_order.require_count(NAMES, 3, "labels.txt")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_another_order_is_named(order: tuple[int, ...]) -> None:
    """Output i of the model means label order[i]."""
    predicted = np.array([order.index(label) for label in LABELS])
    other = label_order.find_better(LABELS, predicted, NAMES)
    assert other is not None and other.labels == tuple(NAMES[label] for label in order)
    assert other.right == 60
    assert f"in the order {', '.join(other.labels)} on 100.0%" in other.message("labels.txt")


@pytest.mark.parametrize("predicted", [LABELS, LABELS * 0, np.random.default_rng(0).integers(0, 3, 60)])
def test_fitting_or_unclear_order_is_left(predicted: np.ndarray) -> None:
    assert label_order.find_better(LABELS, predicted, NAMES) is None


def test_few_photos_of_many_classes_prove_no_order() -> None:
    labels = np.arange(8)
    assert label_order.find_better(labels, (labels + 1) % 8, [str(n) for n in range(8)]) is None


def test_assignment_is_the_best_of_all() -> None:
    draw = np.random.default_rng(1)
    for _round in range(40):
        table = draw.integers(0, 6, (5, 5))
        assigned = label_order.best_assignment(table)
        best = max(sum(table[i, p[i]] for i in range(5)) for p in itertools.permutations(range(5)))
        assert table[np.arange(5), assigned].sum() == best
