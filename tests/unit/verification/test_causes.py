"""The cause of a failure: known faults are named, others are not guessed."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.gate_answers import NAMES
from tledge.run.golden_set import FAULTS, Golden
from tledge.verification import causes

Answers = NDArray[np.float32]


def golden(images: int = 80, seed: int = 0) -> Golden:
    """A golden set of random answers, by Keras and by each known fault."""
    rng = np.random.default_rng(seed)
    answers = {name: softmax(rng.normal(0, 3, (images, 4))) for name in ("keras", *(f.name for f in FAULTS))}
    keras = answers.pop("keras")
    pixels = np.zeros((images, 8, 8, 3), np.uint8)
    few = {name: values[:64] for name, values in answers.items()}
    return Golden(pixels, keras.argmax(1), keras, tuple(map(str, range(images))), few)


def softmax(values: NDArray[np.float64]) -> Answers:
    raised = np.exp(values - values.max(1, keepdims=True))
    return (raised / raised.sum(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("channels-swapped", "colour channels are swapped"),
        ("scaled-twice-to-one", "scaled twice.*divides by 255"),
        ("scaled-twice-around-zero", r"scaled twice.*\[-1, 1\]"),
    ],
)
def test_known_fault_is_named(fault: str, message: str) -> None:
    reference = golden()
    noise = np.random.default_rng(1).normal(0, 0.01, (80, 4)).astype(np.float32)
    found = np.concatenate([reference.faults[fault], reference.probabilities[64:]]) + noise
    (cause,) = causes.likely_causes(reference, found, NAMES)
    assert re.search(message, cause)


def test_shuffled_labels_are_named() -> None:
    reference = golden()
    (cause,) = causes.likely_causes(reference, reference.probabilities[:, [1, 0, 2, 3]], NAMES)
    assert cause == "labels are shuffled: it predicts cat → dog, dog → cat"


def test_constant_answers_are_named() -> None:
    reference = golden()
    found = np.broadcast_to(reference.probabilities[:1], (80, 4))
    (cause,) = causes.likely_causes(reference, found, NAMES)
    assert "predicts the same for every image" in cause


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_numbers_are_named(value: float) -> None:
    found = golden().probabilities.copy()
    found[3, 1] = value
    (cause,) = causes.likely_causes(golden(), found, NAMES)
    assert "not numbers" in cause


def test_unknown_cause_is_not_guessed() -> None:
    reference = golden()
    assert causes.likely_causes(reference, reference.probabilities, NAMES) == ()
    assert causes.likely_causes(reference, golden(seed=9).probabilities, NAMES) == ()
    bare = replace(reference, faults={})
    assert causes.likely_causes(bare, reference.faults["channels-swapped"].repeat(2, 0)[:80], NAMES) == ()
