"""The choice of a scaling by labelled photos: beyond doubt, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tledge.metrics.scaling_choice import MIN_IMAGES, choose

NAMES = [f"candidate {number}" for number in range(10)]


def predictions(rng: np.random.Generator, labels: np.ndarray, accuracy: float, classes: int) -> np.ndarray:
    """Right with this probability, else any class."""
    return np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))


def at_chance(seed: int, images: int, classes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    return labels, {name: predictions(rng, labels, 0, classes) for name in NAMES}


def test_clearly_best_is_chosen() -> None:
    labels, others = at_chance(0, 200, 2)
    best = predictions(np.random.default_rng(1), labels, 0.8, 2)
    choice = choose(labels, others | {"right": best})
    assert choice.chosen == "right" and not choice.reason and choice.p < 0.01
    assert choice.scores[0].name == "right"
    assert choice.scores[0].low < choice.scores[0].accuracy < choice.scores[0].high


def test_twenty_photos_choose_none_even_if_all_are_right() -> None:
    labels = np.arange(20) % 4
    choice = choose(labels, {"right": labels, "wrong": (labels + 1) % 4})
    assert choice.chosen is None
    assert f"at least {MIN_IMAGES}" in choice.reason and "20 labelled photos" in choice.reason


def test_models_at_chance_choose_none() -> None:
    """Of 300 simulated models at chance, none or nearly none is chosen: the error rate is held at 1 %."""
    chosen = [choose(*at_chance(seed, 60, 3)).chosen for seed in range(300)]
    assert sum(name is not None for name in chosen) <= 6


def test_two_good_ones_choose_none() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    close = {name: predictions(rng, labels, 0.9, 2) for name in ("0..1", "0..255")}
    choice = choose(labels, close)
    assert choice.chosen is None and "beyond doubt" in choice.reason and len(choice.scores) == 2


def test_equal_predictions_count_as_one() -> None:
    labels, others = at_chance(0, 200, 2)
    best = predictions(np.random.default_rng(1), labels, 0.9, 2)
    choice = choose(labels, {"first": best, "second": best.copy()} | others)
    assert choice.chosen == "first" and choice.equals == ("second",)


def test_one_class_for_every_photo_is_never_chosen() -> None:
    """With labels permuted, the right scaling is always wrong and a constant prediction looks better."""
    labels = np.arange(300) % 3
    choice = choose(labels, {"right, permuted": (labels + 1) % 3, "constant": np.zeros_like(labels)})
    assert choice.chosen is None


def test_a_single_candidate_must_beat_one_class_for_all() -> None:
    labels = np.arange(100) % 2
    assert choose(labels, {"only": labels}).chosen == "only"
    assert choose(labels, {"only": np.zeros_like(labels)}).chosen is None


@pytest.mark.parametrize(("images", "names"), [(0, 1), (3, 0)])
def test_nothing_to_choose_by(images: int, names: int) -> None:
    labels = np.zeros(images, np.int64)
    with pytest.raises(ValueError, match="no images or no candidates"):
        choose(labels, dict.fromkeys(NAMES[:names], labels))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 5), st.floats(0, 1))
def test_what_is_chosen_is_the_most_accurate(seed: int, images: int, classes: int, accuracy: float) -> None:
    labels, candidates = at_chance(seed, images, classes)
    candidates["good"] = predictions(np.random.default_rng(seed), labels, accuracy, classes)
    choice = choose(labels, candidates)
    accuracies = [score.accuracy for score in choice.scores]
    assert accuracies == sorted(accuracies, reverse=True)
    assert (choice.chosen is None) == bool(choice.reason)
    if choice.chosen:
        assert choice.chosen == choice.scores[0].name and accuracies[0] > accuracies[1]
        assert images >= MIN_IMAGES
