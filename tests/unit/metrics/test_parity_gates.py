"""The gates: each just inside and just outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.gate_answers import NAMES
from tledge.config import Parity
from tledge.metrics import parity_gates
from tledge.metrics.parity_gates import PredictionComparison

Answers = NDArray[np.float32]

SAME = PredictionComparison(
    images=1000,
    accuracy=0.9,
    reference_accuracy=0.9,
    accuracy_change=0.0,
    accuracy_change_low=0.0,
    accuracy_change_high=0.0,
    mcnemar_p=1.0,
    agreement=1.0,
    agreement_low=0.996,
    agreement_high=1.0,
    max_abs_dp=0.0,
    worst_class="",
    worst_class_change=0.0,
    vanished_classes=(),
)


def sure(classes: NDArray[np.int64], share: float = 0.91) -> Answers:
    """Probabilities that answer these classes."""
    made = np.full((len(classes), len(NAMES)), (1 - share) / (len(NAMES) - 1), np.float32)
    made[np.arange(len(classes)), classes] = share
    return made


def compared(images: int, *, lost: int = 0, won: int = 0, moved: int = 0) -> PredictionComparison:
    """`lost` right answers turn wrong, `won` wrong ones right, `moved` go from wrong to wrong."""
    labels = np.arange(images) % len(NAMES)
    before, after = labels.copy(), labels.copy()
    after[:lost] = (labels[:lost] + 1) % 4
    before[lost : lost + won] = (labels[lost : lost + won] + 1) % 4
    place = slice(lost + won, lost + won + moved)
    before[place], after[place] = (labels[place] + 1) % 4, (labels[place] + 2) % 4
    return parity_gates.compare_predictions(labels, sure(before), sure(after), NAMES)


def verdict(found: PredictionComparison, gate: str, **limits: float) -> str:
    return parity_gates.check_parity(found, gate, Parity(**limits))[0]


def reasons(found: PredictionComparison, gate: str) -> str:
    return "; ".join(parity_gates.check_parity(found, gate, Parity())[1])


def test_comparison_counts_answers() -> None:
    found = compared(200, lost=5, won=2, moved=3)
    assert found.images == 200
    assert found.agreement == pytest.approx(190 / 200)
    assert found.reference_accuracy == pytest.approx(195 / 200)
    assert found.accuracy == pytest.approx(192 / 200)
    assert found.accuracy_change == pytest.approx(-3 / 200)
    assert found.accuracy_change_low <= found.accuracy_change <= found.accuracy_change_high
    assert found.agreement_low < found.agreement < found.agreement_high
    assert 0.4 < found.mcnemar_p < 0.5


def test_comparison_measures_probabilities() -> None:
    labels = np.array([0, 1, 2, 3])
    keras, found = sure(labels), sure(labels)
    found[2, 1] += 0.04
    assert parity_gates.compare_predictions(labels, keras, found, NAMES).max_abs_dp == pytest.approx(0.04)


def test_flips_are_told_apart() -> None:
    found = compared(200, lost=5, won=2, moved=3)
    assert (found.regressions, found.fixes, found.still_wrong) == (5, 2, 3)
    same = compared(50)
    assert (same.regressions, same.fixes, same.still_wrong) == (0, 0, 0)


def test_confidence_is_held_to_accuracy() -> None:
    """Every answer is 91 % sure; Keras is right on 91 of 100 and the artifact on 81."""
    labels = np.zeros(100, np.int64)
    before, after = (np.where(np.arange(100) < right, 0, 1) for right in (91, 81))
    found = parity_gates.compare_predictions(labels, sure(before), sure(after), NAMES)
    assert found.ece == pytest.approx(0.1, abs=1e-6)
    keras = parity_gates.compare_predictions(labels, sure(before), sure(before), NAMES)
    assert keras.ece == pytest.approx(0.0, abs=1e-6)


def test_only_the_artifact_has_its_calibration_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference model's is the same for every artifact: whoever needs it computes it once."""
    measured: list[Answers] = []
    monkeypatch.setattr(
        parity_gates.statistics,
        "calibration_error",
        lambda shares, _labels: measured.append(shares),
    )
    labels = np.arange(8) % 4
    keras, artifact = sure(labels), sure(labels, 0.8)
    parity_gates.compare_predictions(labels, keras, artifact, NAMES)
    assert len(measured) == 1 and measured[0] is artifact


def test_recall_of_every_class_with_images() -> None:
    labels = np.repeat([0, 1, 3], [4, 2, 1])
    before = np.array([0, 0, 0, 1, 1, 1, 0])
    after = np.array([0, 0, 1, 1, 1, 0, 3])
    found = parity_gates.compare_predictions(labels, sure(before), sure(after), NAMES)
    assert found.recall == {"cat": (4, 0.75, 0.5), "dog": (2, 1.0, 0.5), "fox": (1, 0.0, 1.0)}


def test_worst_class_is_named() -> None:
    labels = np.repeat(np.arange(4), [40, 40, 20, 19])
    after = labels.copy()
    after[[0, 40, 41, 80, 99, 100]] = 3
    found = parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES)
    assert (found.worst_class, found.worst_class_change) == ("emu", pytest.approx(-0.1))


def test_small_class_has_no_gate() -> None:
    labels = np.repeat(np.arange(4), [40, 40, 40, parity_gates.MIN_CLASS_IMAGES - 1])
    after = np.where(labels == 3, 0, labels)
    found = parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES)
    assert found.worst_class_change == 0.0
    assert found.vanished_classes == ("fox",)
    small = compared(40, lost=8)
    assert (small.worst_class, small.worst_class_change) == ("", 0.0)


def test_label_without_a_name_is_an_error() -> None:
    labels = np.array([0, 1, 4])
    with pytest.raises(ValueError, match="zip"):
        parity_gates.compare_predictions(labels, sure(labels * 0), sure(labels * 0), NAMES)


def test_once_answered_class_cannot_vanish() -> None:
    labels = np.array([0] * 30 + [1, 1, 2])
    after = np.zeros(33, np.int64)
    assert parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES).vanished_classes == (
        "dog",
    )


@pytest.mark.parametrize("gate", ["float", "fp16", "int8"])
def test_equal_answers_pass(gate: str) -> None:
    assert parity_gates.check_parity(compared(200), gate, Parity()) == ("passed", ())


@pytest.mark.parametrize(
    ("gate", "images", "moved", "expected"),
    [
        ("float", 1000, 0, "passed"),
        ("float", 1000, 1, "failed"),
        ("fp16", 1000, 5, "passed"),
        ("fp16", 1000, 6, "failed"),
        ("int8", 1000, 20, "passed"),
        ("int8", 1000, 21, "failed"),
        ("int8", 50, 1, "undecided"),
        ("int8", 100, 2, "passed"),
        ("int8", 100, 3, "failed"),
    ],
)
def test_agreement_gate(gate: str, images: int, moved: int, expected: str) -> None:
    same = replace(compared(images, moved=moved), max_abs_dp=0.0)
    assert verdict(same, gate) == expected
    assert ("agrees with Keras" in reasons(same, gate)) == (expected == "failed")


@pytest.mark.parametrize(("largest", "expected"), [(1e-4, "passed"), (1.01e-4, "failed")])
def test_probability_gate_for_floats(largest: float, expected: str) -> None:
    found = replace(SAME, max_abs_dp=largest)
    assert verdict(found, "float") == expected
    assert verdict(found, "fp16") == verdict(found, "int8") == "passed"


@pytest.mark.parametrize(("lost", "expected"), [(10, "passed"), (11, "failed")])
def test_accuracy_drop_gate(lost: int, expected: str) -> None:
    found = compared(1000, lost=lost)
    assert verdict(found, "int8") == expected
    assert verdict(found, "float", float_agreement=0.9, float_max_dp=1) == "passed"


@pytest.mark.parametrize(
    ("accuracy", "expected"), [(0.2451, "passed"), (0.98 * 0.25, "passed"), (0.2449, "failed")]
)
def test_accuracy_share_gate(accuracy: float, expected: str) -> None:
    found = replace(SAME, reference_accuracy=0.25, accuracy=accuracy, accuracy_change=accuracy - 0.25)
    assert verdict(found, "int8") == expected


@pytest.mark.parametrize(("accuracy", "expected"), [(0.09, "passed"), (0.089, "failed")])
def test_rounding_fails_no_share(accuracy: float, expected: str) -> None:
    """0.9 * 0.1 is a little more than 0.09 in floating point."""
    found = replace(SAME, reference_accuracy=0.1, accuracy=accuracy, accuracy_change=accuracy - 0.1)
    assert verdict(found, "int8", int8_accuracy=0.9, max_drop=0.5) == expected


def test_accuracy_share_is_the_reason() -> None:
    found = replace(SAME, reference_accuracy=0.25, accuracy=0.244, accuracy_change=-0.006)
    assert reasons(found, "int8") == (
        "accuracy 24.4%, Keras 25.0%: 97.6% of Keras's accuracy; at least 98% is required"
    )


def test_agreement_is_the_reason() -> None:
    found = replace(compared(1000, moved=21), max_abs_dp=0.0)
    assert reasons(found, "int8") == (
        "agrees with Keras on 979 of 1000 images (97.9%); at least 98% is required"
    )


def test_interval_that_ends_at_the_limit_decides_nothing() -> None:
    agreement = replace(SAME, images=49, agreement=0.9, agreement_high=0.98)
    assert verdict(agreement, "int8") == "undecided"
    assert verdict(replace(agreement, agreement_high=0.979), "int8") == "failed"
    drop = replace(SAME, images=50, accuracy=0.8, accuracy_change=-0.1, accuracy_change_high=-0.01)
    assert verdict(drop, "int8") == "undecided"
    assert verdict(replace(drop, accuracy_change_high=-0.011), "int8") == "failed"


@pytest.mark.parametrize(("lost", "expected"), [(9, "passed"), (10, "failed")])
def test_accuracy_share_at_its_boundary(lost: int, expected: str) -> None:
    """Keras is right on 450 of 1000: 98 % of that is 441."""
    found = compared(1000, moved=550, lost=lost)
    assert verdict(found, "int8", int8_agreement=0.0) == expected


@pytest.mark.parametrize(("lost", "expected"), [(1, "passed"), (2, "failed")])
def test_class_drop_is_measured(lost: int, expected: str) -> None:
    """One of 20 images is just 5 points."""
    labels = np.repeat(np.arange(4), [500, 500, 20, 500])
    after = labels.copy()
    after[1000 : 1000 + lost] = 0
    found = parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES)
    assert (found.worst_class, verdict(found, "int8")) == ("emu", expected)


@pytest.mark.parametrize(("change", "expected"), [(-0.05, "passed"), (-0.051, "failed")])
def test_class_drop_gate(change: float, expected: str) -> None:
    found = replace(SAME, worst_class="dog", worst_class_change=change)
    assert verdict(found, "int8") == expected
    assert ("recall of class dog fell by 5.1 points" in reasons(found, "int8")) == (expected == "failed")


def test_vanished_class_fails() -> None:
    found = replace(SAME, vanished_classes=("cat", "emu"))
    assert verdict(found, "int8") == "failed"
    assert "never predicts cat, emu" in reasons(found, "int8")


def skewed(*, kept: int = 0, images: int = 400) -> PredictionComparison:
    """Keras tells four classes apart; the artifact answers cat, and `kept` of the others as Keras does."""
    labels = np.arange(images) % 4
    others = np.flatnonzero(labels)[kept:]
    after = labels.copy()
    after[others] = 0
    return parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES)


@pytest.mark.parametrize("gate", ["float", "fp16", "int8"])
def test_constant_answer_fails(gate: str) -> None:
    """Also where nothing else would: the gates of the recipe are wide open."""
    limits = {"float_agreement": 0.0, "float_max_dp": 1.0, "fp16_agreement": 0.0, "int8_agreement": 0.0}
    limits |= {"int8_accuracy": 0.0, "max_drop": 1.0, "max_class_drop": 1.0}
    found = parity_gates.check_parity(skewed(), gate, Parity(**limits))
    assert found == ("failed", ("predicts class cat for every image",))
    (reason,) = parity_gates.check_parity(skewed(kept=1), gate, Parity(**limits))[1]
    assert reason == "never predicts emu, fox"


def test_two_other_answers_make_constant() -> None:
    labels = np.array([0] * 30 + [1, 2])
    after = np.zeros(32, np.int64)
    assert parity_gates.compare_predictions(labels, sure(labels), sure(after), NAMES).constant_class == "cat"
    one = parity_gates.compare_predictions(labels[:31], sure(labels[:31]), sure(after[:31]), NAMES)
    assert (one.constant_class, one.vanished_classes) == ("", ())
    assert parity_gates.compare_predictions(labels, sure(after), sure(after), NAMES).constant_class == ""


@pytest.mark.parametrize("gate", ["float", "fp16", "int8"])
def test_vanished_class_fails_every_gate(gate: str) -> None:
    found = replace(SAME, vanished_classes=("cat", "emu"))
    assert verdict(found, gate) == "failed"
    assert verdict(replace(found, vanished_classes=()), gate) == "passed"


def test_vanished_class_fails_small_sets() -> None:
    found = parity_gates.compare_predictions(*small_set(answered=2), NAMES)
    assert verdict(found, "int8") == "failed"
    assert reasons(found, "int8") == "never predicts emu"
    assert verdict(parity_gates.compare_predictions(*small_set(answered=1), NAMES), "int8") == "undecided"


def small_set(answered: int) -> tuple[NDArray[np.int64], Answers, Answers]:
    """45 images of three classes, `answered` of them emus to Keras and dogs to the artifact."""
    labels = np.array(([0, 1, 3] * 15)[: 45 - answered] + [2] * answered)
    return labels, sure(labels), sure(np.where(labels == 2, 1, labels))


def test_many_vanished_classes_are_counted() -> None:
    found = replace(SAME, vanished_classes=tuple("abcdefgh"))
    assert reasons(found, "int8") == "never predicts a, b, c, d, e and 3 more"
    assert reasons(replace(SAME, vanished_classes=tuple("abcde")), "int8") == "never predicts a, b, c, d, e"
    six = replace(SAME, vanished_classes=tuple("abcdef"))
    assert reasons(six, "int8") == "never predicts a, b, c, d, e and 1 more"


def test_won_accuracy_never_fails() -> None:
    assert verdict(compared(1000, won=20), "int8") == "passed"


@pytest.mark.parametrize(
    ("gate", "images", "needed"),
    [("int8", 49, "needs at least 50"), ("int8", 99, "100"), ("fp16", 199, "200")],
)
def test_small_set_is_undecided(gate: str, images: int, needed: str) -> None:
    text = reasons(compared(images), gate)
    assert verdict(compared(images), gate) == "undecided"
    assert "inconclusive: " in text and needed in text
    assert f"of {images} images" in text or f"there are {images}" in text


@pytest.mark.parametrize("gate", ["float", "fp16", "int8"])
@pytest.mark.parametrize("accuracy", [1.0, 0.9, 0.3, 0.0])
@pytest.mark.parametrize("limits", [Parity(), Parity(int8_accuracy=0.999), Parity(max_drop=0.003)])
def test_named_number_of_images_decides(gate: str, accuracy: float, limits: Parity) -> None:
    found = replace(SAME, reference_accuracy=accuracy, accuracy=accuracy)
    needed = parity_gates.images_needed(found, gate, limits)
    assert parity_gates.check_parity(replace(found, images=max(1, needed)), gate, limits)[0] == "passed"
    few, reasons = parity_gates.check_parity(replace(found, images=max(0, needed - 1)), gate, limits)
    assert few == ("undecided" if needed else "passed")
    assert not needed or any(f"needs at least {needed} images" in reason for reason in reasons)


def test_weak_model_takes_more_images() -> None:
    """Of 25 % accuracy one image in 100 is already 4 %."""
    found = replace(SAME, images=100, reference_accuracy=0.25, accuracy=0.24, accuracy_change=-0.01)
    assert verdict(found, "int8") == "undecided"
    assert "a 0.5-point accuracy drop needs at least 200 images, there are 100" in reasons(found, "int8")
    assert verdict(replace(found, images=200), "int8") == "failed"


@pytest.mark.parametrize(("gate", "images"), [("int8", 100), ("fp16", 200), ("float", 1)])
def test_large_enough_set_is_decided(gate: str, images: int) -> None:
    assert verdict(compared(images), gate) == "passed"


@pytest.mark.parametrize("gate", ["float", "fp16", "int8"])
def test_answers_that_never_vary_show_nothing(gate: str) -> None:
    labels = np.array([0, 1] * 150)
    same = np.tile(np.float32([0.6, 0.3, 0.1]), (300, 1))
    found = parity_gates.compare_predictions(labels, same, same, NAMES)
    assert verdict(found, gate) == "undecided"
    assert "the same probabilities for all 300 images" in reasons(found, gate)
    assert not parity_gates.compare_predictions(labels[:2], same[:2], same[:2], NAMES).reference_varies
    assert (
        verdict(parity_gates.compare_predictions(labels[:1], same[:1], same[:1], NAMES), "float") == "passed"
    )


def test_one_class_for_all_shows_nothing() -> None:
    labels = np.array([0, 1] * 150)
    blind = np.stack([np.linspace(0.6, 0.9, 300), np.linspace(0.4, 0.1, 300), np.zeros(300)], 1)
    found = parity_gates.compare_predictions(
        labels, blind.astype(np.float32), blind.astype(np.float32), NAMES
    )
    assert found.reference_constant_class == NAMES[0] and found.reference_varies
    assert verdict(found, "float") == "passed"
    assert verdict(found, "int8") == verdict(found, "fp16") == "undecided"
    assert f"Keras predicts class {NAMES[0]} for every image" in reasons(found, "int8")
    one_label = parity_gates.compare_predictions(
        labels * 0, blind.astype(np.float32), blind.astype(np.float32), NAMES
    )
    assert verdict(one_label, "int8") == "passed"


def test_small_set_can_still_fail() -> None:
    found = compared(40, lost=12)
    assert verdict(found, "int8") == "failed"
    assert "even the upper end of the 95% interval" in reasons(found, "int8")
    assert verdict(replace(compared(3, moved=1), max_abs_dp=0.0), "float") == "failed"


def test_limits_of_the_recipe_count() -> None:
    assert verdict(compared(1000, lost=40), "int8") == "failed"
    lenient = {"int8_agreement": 0.9, "int8_accuracy": 0.9, "max_drop": 0.05, "max_class_drop": 0.2}
    assert verdict(compared(1000, lost=40), "int8", **lenient) == "passed"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(SAME, agreement=0.1, max_abs_dp=1.0), "passed"),
        (replace(SAME, accuracy_change=-0.01, accuracy=0.89), "passed"),
        (replace(SAME, accuracy_change=-0.0101, accuracy=0.8899), "failed"),
        (replace(SAME, worst_class="emu", worst_class_change=-0.051), "failed"),
        (replace(SAME, vanished_classes=("emu",)), "failed"),
        (replace(SAME, images=99), "undecided"),
        (replace(SAME, images=99, accuracy_change=-0.2, accuracy_change_high=-0.1, accuracy=0.7), "failed"),
    ],
)
def test_change_has_gates_but_no_agreement(found: PredictionComparison, expected: str) -> None:
    result, lines = parity_gates.check_replacement(found, Parity(), "A")
    assert result == expected
    assert bool(lines) == (expected != "passed")


def test_change_is_told_beside_the_other() -> None:
    lines = parity_gates.check_replacement(compared(1000, lost=30), Parity(), "A")[1]
    assert "accuracy 97.0%, A 100.0%: a drop of 3 points; at most 1 allowed" in lines
    assert "accuracy 97.0%, Keras 100.0%: a drop of 3 points" in reasons(compared(1000, lost=30), "int8")


@pytest.mark.parametrize(("tolerance", "images"), [(0.02, 50), (0.01, 100), (0.005, 200), (0.0, 0), (1.0, 1)])
def test_resolution_is_one_image(tolerance: float, images: int) -> None:
    assert parity_gates.images_to_resolve(tolerance) == images
