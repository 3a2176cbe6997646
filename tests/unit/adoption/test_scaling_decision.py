"""Which scaling is taken for a model, and when tledge asks instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tledge.adoption import scaling_decision
from tledge.adoption.facts import ModelFacts
from tledge.errors import RecipeError
from tledge.preprocessing.scaling import AROUND_ZERO, BYTES, NAMES, TO_ONE, Scaling

PLAIN = ModelFacts(
    framework="Keras 3", version="3", size=(32, 32), channels=3, classes=3, parameters=1, ending="softmax",
    removed=(), names=("mine",), retyped=False, has_preprocessing=False, low=0.0, high=255.0,
    low_of_one=0.0, high_of_one=1.0, is_contract=False,
)  # fmt: skip
RESCALED = replace(PLAIN, has_preprocessing=True, low=-1.0, high=1.0, low_of_one=-1.0, high_of_one=-0.99)
MOBILENET = replace(PLAIN, names=("sequential", "mobilenetv2_0.35_224"))
LABELS = np.arange(90) % 3


def predictions(right: dict[str, int], count: int = 90) -> dict[str, np.ndarray]:
    """Predict so many photos right with each scaling, a third with those not named, each in its own way."""
    made = {}
    for number, name in enumerate(NAMES):
        predicted = (LABELS[:count] + 1 + number % 2) % 3
        ones = np.random.default_rng(number).permutation(count)[: right.get(name, count // 3)]
        predicted[ones] = LABELS[ones]
        made[name] = predicted
    return made


def decide(facts: ModelFacts, right: dict[str, int], given: Scaling | None = None, count: int = 90):  # type: ignore[no-untyped-def]
    return scaling_decision.decide(facts, given, LABELS[:count], predictions(right, count))


@pytest.mark.parametrize(
    ("low", "high", "of_one", "scaling"),
    [
        (-1.0, 1.0, (-1.0, -0.99), BYTES),
        (0.0, 1.0, (0.0, 0.004), BYTES),
        (-123.68, 151.061, (-123.68, -102.9), BYTES),
        (0.0, 255.0, (0.0, 1.0), BYTES),
        (-1.0, 509.0, (-1.0, 1.0), TO_ONE),
    ],
)
def test_own_preprocessing_is_read(
    low: float, high: float, of_one: tuple[float, float], scaling: Scaling
) -> None:
    facts = replace(
        PLAIN, has_preprocessing=True, low=low, high=high, low_of_one=of_one[0], high_of_one=of_one[1]
    )
    found = scaling_decision.expectation(facts)
    assert found is not None and found.scaling == scaling and found.is_certain


def test_known_backbone_is_recognized() -> None:
    found = scaling_decision.expectation(MOBILENET)
    assert found is not None and found.scaling == AROUND_ZERO and not found.is_certain
    assert scaling_decision.expectation(PLAIN) is None


def test_photos_choose_where_the_model_says_nothing() -> None:
    decision = decide(PLAIN, {"-1..1": 80})
    assert (decision.scaling, decision.source) == (AROUND_ZERO, "photos")


@pytest.mark.parametrize("count", [20, 90])
def test_it_asks_where_photos_cannot_tell(count: int) -> None:
    right = {"-1..1": 20} if count == 20 else {}
    with pytest.raises(RecipeError, match=r"(?s)does not say.*--scaling -1..1 .*right.*such as: --scaling"):
        decide(PLAIN, right, count=count)


def test_it_asks_where_two_scalings_predict_the_same() -> None:
    made = predictions({"-1..1": 80})
    made["torch"] = made["-1..1"]
    with pytest.raises(
        RecipeError, match=r"(?s)several scalings equally well.*the same predictions as -1..1"
    ):
        scaling_decision.decide(PLAIN, None, LABELS, made)


def test_model_that_says_it_is_believed_on_few_photos() -> None:
    decision = decide(RESCALED, {"0..255": 15}, count=20)
    assert (decision.scaling, decision.source) == (BYTES, "model")


def test_model_and_photos_that_contradict_are_named() -> None:
    with pytest.raises(
        RecipeError, match=r"the photos fit the scaling 0..255,bgr \(88.9% of 90 right\), not 0..255"
    ):
        decide(RESCALED, {"0..255,bgr": 80})


def test_photos_correct_a_backbones_usual_scaling() -> None:
    decision = decide(MOBILENET, {"0..1": 80})
    assert (decision.scaling, decision.source) == (TO_ONE, "photos")
    assert "fit the scaling 0..1" in decision.remarks[0]


def test_backbone_at_chance_is_asked_for() -> None:
    with pytest.raises(RecipeError, match=r"mobilenetv2_0.35_224.*but 90 labelled photos do not show"):
        decide(MOBILENET, {"torch": 40})


def test_wrong_given_scaling_is_taken_and_named() -> None:
    decision = decide(PLAIN, {"-1..1": 80}, TO_ONE)
    assert (decision.scaling, decision.source) == (TO_ONE, "given")
    assert decision.remarks[0].startswith("the photos fit the scaling -1..1 (88.9% of 90 right), not 0..1")
