"""Temperature, threshold and risk, held against scipy's and against worked examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.contract import AbstentionPolicy
from tledge.metrics import abstention
from tledge.metrics.abstention import (
    coverage_remarks,
    fit_abstention,
    fit_temperature,
    fit_threshold,
    risk_coverage,
    temperature_scaled,
)

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.34, 0.33, 0.33]], np.float32)
"""Four answers, 0, 1, 0 and 0, ever less sure."""


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def drawn(
    sharpness: float, count: int = 4000, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Answers that are as sure as they are right at sharpness 1, too sure above."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 4))
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in softmax(logits).astype(float)])
    return softmax(sharpness * logits), labels


def likelihood(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    return -float(np.log(probabilities[np.arange(len(labels)), labels]).mean())


def calibration_error(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean distance of confidence and accuracy over ten bins of confidence."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((sure * 10).astype(int), 9)
    parts = [bins == number for number in range(10) if (bins == number).any()]
    return float(sum(abs(sure[one].mean() - right[one].mean()) * one.mean() for one in parts))


def test_scaling_is_that_of_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 7))
    for heat in (0.5, 1.0, 2.5):
        assert np.allclose(temperature_scaled(softmax(logits), heat), softmax(logits / heat), atol=1e-5)


def test_scaling_by_hand() -> None:
    # Roots of .64, .32 and .04 are .8, .5657 and .2.
    assert temperature_scaled(np.array([0.64, 0.32, 0.04], np.float32), 2).tolist() == pytest.approx(
        [0.8 / 1.56569, 0.56569 / 1.56569, 0.2 / 1.56569], abs=1e-5
    )


def test_int8_zeros_are_scaled() -> None:
    steps = (np.array([[255, 0, 0], [254, 2, 0], [0, 0, 0]]) / 256).astype(np.float32)
    found = temperature_scaled(steps, 3.0)
    assert np.isfinite(found).all() and np.allclose(found.sum(1), 1)
    assert found[0, 0] == pytest.approx(1, abs=1e-6) and found[2].tolist() == pytest.approx([1 / 3] * 3)
    assert 0 < found[1, 2] < found[1, 1] < found[1, 0] < 1


@pytest.mark.parametrize(("sharpness", "wanted"), [(3.0, 3.0), (1.0, 1.0), (0.5, 0.5)])
def test_temperature_finds_the_sharpness(sharpness: float, wanted: float) -> None:
    assert fit_temperature(*drawn(sharpness)) == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 2.0, 4.0])
def test_temperature_equals_scipy(sharpness: float) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    special = pytest.importorskip("scipy.special")
    probabilities, labels = drawn(sharpness, count=300)
    targets = np.full((300, 4), 1 / 302 / 3)
    targets[np.arange(300), labels] = 301 / 302
    logits = np.log(probabilities.astype(float))

    def loss(heat: float) -> float:
        return -float((targets * special.log_softmax(logits / heat, axis=1)).mean())

    wanted = optimize.minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-7}).x
    assert fit_temperature(probabilities, labels) == pytest.approx(wanted, rel=1e-4)


def test_too_sure_answers_are_cooled_down() -> None:
    """Fitted on one half, better on the other."""
    probabilities, labels = drawn(3.0)
    heat = fit_temperature(probabilities[:2000], labels[:2000])
    before, after = probabilities[2000:].astype(float), temperature_scaled(probabilities[2000:], heat)
    assert heat > 2.5
    assert likelihood(after, labels[2000:]) < likelihood(before, labels[2000:]) - 0.1
    assert calibration_error(after, labels[2000:]) < 0.05 < 0.15 < calibration_error(before, labels[2000:])


def test_split_without_mistake_keeps_its_doubt() -> None:
    """Whole labels would sharpen it to the lower bound; one photo of doubt does not."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 1, (300, 4)), rng.integers(0, 4, 300)
    logits[np.arange(300), labels] += rng.normal(8, 2, 300)
    probabilities = softmax(logits)
    assert (probabilities.argmax(1) == labels).all()
    assert likelihood(temperature_scaled(probabilities, 0.2), labels) < likelihood(
        temperature_scaled(probabilities, 0.4), labels
    )
    assert fit_temperature(probabilities, labels) == pytest.approx(0.9, abs=0.15)


@pytest.mark.parametrize("count", [4, 20])
def test_temperature_of_photos_that_are_all_right_by_hand(count: int) -> None:
    """.9^(1/T) : .1^(1/T) must be 1 - 1/(n + 2) : 1/(n + 2), that is 9^(1/T) = n + 1."""
    right = np.array([[0.9, 0.1]] * count, np.float32)
    assert fit_temperature(right, np.zeros(count, np.int64)) == pytest.approx(
        math.log(9) / math.log(count + 1), rel=1e-5
    )


def test_scaling_of_nothing_but_zeros_is_even() -> None:
    """Each row by its own largest share, or the powers of an int8 artifact's zeros would all be 0."""
    rows = np.array([[1, 0, 0], [0, 0, 0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = temperature_scaled(rows, 0.1)
    assert found[1].tolist() == pytest.approx([1 / 3] * 3) and found[0, 0] == pytest.approx(1)


def test_temperature_stays_within_bounds() -> None:
    wrong = np.array([[0.999, 0.001]] * 20, np.float32)
    assert fit_temperature(wrong, np.ones(20, np.int64)) == pytest.approx(abstention.HOTTEST, rel=1e-4)
    assert fit_temperature(np.eye(2, dtype=np.float32), np.arange(2)) <= abstention.HOTTEST


@pytest.mark.parametrize(
    ("give_up", "wanted"), [(0.0, 0.0), (0.01, 0.01), (0.1, 0.1), (0.2, 0.2), (0.199, 0.19), (0.5, 0.5)]
)
def test_threshold_is_the_kth_right_answer(give_up: float, wanted: float) -> None:
    sure = np.arange(1, 100) / 100  # 99 right ones: k is give_up of 100
    right = np.ones(99, bool)
    assert fit_threshold(sure, right, give_up) == pytest.approx(wanted, abs=1e-9)


def test_threshold_leaves_wrong_answers_out() -> None:
    sure = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.7])
    right = np.array([False, False, False, True, True, True])
    assert fit_threshold(sure, right, 0.05) == pytest.approx(0.7)
    assert fit_threshold(sure, ~right, 0.5) == pytest.approx(0.2)


def test_nothing_right_answers_everything() -> None:
    assert fit_threshold(np.array([0.5, 0.9]), np.zeros(2, bool), 0.05) == 0


def test_threshold_never_passes_its_answer() -> None:
    """Rounded down, so that the answer that gave it is answered."""
    sure = np.array([0.123456789, 0.99999])
    assert fit_threshold(sure, np.ones(2, bool), 0.05) == 0.1234
    assert fit_threshold(sure[1:], np.ones(1, bool), 0.05) <= 0.99999


def test_new_right_answers_keep_the_promise() -> None:
    """Of new photos like these, on average no larger share than asked is given up."""
    rng = np.random.default_rng(0)
    lost = []
    for _ in range(2000):
        known = rng.beta(8, 2, 60)
        lost.append((rng.beta(8, 2, 50) < fit_threshold(known, np.ones(60, bool), 0.1)).mean())
    assert 0.08 < np.mean(lost) <= 0.1


def test_table_by_hand() -> None:
    labels = np.array([0, 2, 0, 0])  # the second surest is wrong
    found = risk_coverage(P, labels, 1.0)
    lines = {round(one.coverage, 2): (round(one.threshold, 2), one.error) for one in found.rows}
    assert lines == {1.0: (0.34, 1 / 4), 0.75: (0.5, 1 / 3), 0.5: (0.6, 1 / 2)}
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_equally_sure_photos_stay_together() -> None:
    same = np.array([[0.8, 0.2]] * 5 + [[0.6, 0.4]] * 5, np.float32)
    found = risk_coverage(same, np.array([0, 0, 0, 0, 1] * 2), 1.0)
    assert {one.coverage for one in found.rows} == {0.5, 1.0}
    assert {one.error for one in found.rows} == {0.2}


def test_useful_doubt_lowers_the_error() -> None:
    probabilities, labels = drawn(1.0)
    errors = [one.error for one in risk_coverage(probabilities, labels, 1.0).rows]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx((probabilities.argmax(1) != labels).mean())
    assert errors[-1] < errors[0] / 2


def test_fit_says_what_it_costs() -> None:
    probabilities, labels = drawn(2.0)
    found = fit_abstention(probabilities, labels, 0.05)
    right = probabilities.argmax(1) == labels
    answered = temperature_scaled(probabilities, found.temperature).max(1) >= found.threshold
    assert found.images == 4000
    assert found.temperature == round(fit_temperature(probabilities, labels), 4) != round(found.temperature)
    assert (right & ~answered).sum() / right.sum() == pytest.approx(0.05, abs=0.002)
    assert found.coverage == pytest.approx(answered.mean())
    assert found.error == pytest.approx((~right)[answered].mean()) and found.error < (~right).mean()


def test_nothing_given_up_answers_all() -> None:
    probabilities, labels = drawn(2.0, count=200)
    found = fit_abstention(probabilities, labels, 0.0)
    assert (found.threshold, found.coverage, found.reason) == (0.0, 1.0, "[abstain] give_up is 0")
    assert found.error == pytest.approx((probabilities.argmax(1) != labels).mean())


@pytest.mark.parametrize(("give_up", "wanted"), [(0.01, 313), (0.02, 156), (0.05, 61), (0.1, 30), (0.5, 5)])
def test_correct_predictions_that_a_threshold_takes(give_up: float, wanted: int) -> None:
    """Held to scipy's beta distribution, from there on for every number of photos."""
    stats = pytest.importorskip("scipy.stats")
    assert abstention.correct_needed(give_up) == wanted
    ranks = [(count, math.floor(give_up * (count + 1))) for count in range(wanted, 4 * wanted)]
    kept = [stats.beta.cdf(min(1, 2 * give_up), rank, count + 1 - rank) for count, rank in ranks]
    assert min(kept) >= 0.95
    assert wanted == 5 or stats.beta.cdf(2 * give_up, 3, wanted - 3) < 0.95  # with one photo less


def test_few_photos_set_no_threshold() -> None:
    """27 validation photos, as 180 photos leave: the lowest of 25 may reject anything."""
    right, wrong = [[0.9, 0.1]] * 25, [[0.3, 0.7]] * 2
    found = fit_abstention(np.array(right + wrong, np.float32), np.zeros(27, np.int64), 0.05)
    assert (found.threshold, found.coverage, found.images) == (0.0, 1.0, 27)
    assert (
        found.reason == "25 of 27 validation photos are predicted correctly, and a threshold needs 61"
        and found.temperature != 1
    )


def test_threshold_that_rejects_nothing_is_not_set() -> None:
    same = np.array([[0.9, 0.1]] * 100, np.float32)
    found = fit_abstention(same, np.zeros(100, np.int64), 0.05)
    assert (found.threshold, found.reason) == (0.0, "it would reject none of 100 validation photos")


def test_unsure_of_everything_has_no_error() -> None:
    assert abstention.coverage_and_error(P, np.zeros(4, np.int64), AbstentionPolicy(1.0, 0.9)) == (0.0, 0.0)
    assert abstention.coverage_and_error(P, np.zeros(4, np.int64), AbstentionPolicy(1.0, 0.55)) == (0.5, 0.5)


def test_confidence_at_the_threshold_counts() -> None:
    """The threshold is the confidence of a right prediction, and that one must not be rejected."""
    even = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], np.float32)
    assert abstention.coverage_and_error(even, np.zeros(2, np.int64), AbstentionPolicy(1.0, 0.5)) == (1, 0.5)
    above = AbstentionPolicy(1.0, float(np.nextafter(0.5, 1)))
    assert abstention.coverage_and_error(even, np.zeros(2, np.int64), above) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "images", "word"),
    [
        ((0.95, 0.02), (0.95, 0.02), 300, ""),
        ((0.95, 0.02), (0.91, 0.035), 300, ""),
        ((0.95, 0.02), (0.85, 0.0), 300, "coverage at the confidence threshold 85.0%"),
        ((0.85, 0.02), (0.95, 0.02), 300, "Keras 85.0%"),
        ((0.95, 0.02), (0.95, 0.05), 300, "selective error 5.0%"),
        ((0.95, 0.05), (0.95, 0.0), 300, ""),
        ((1.0, 0.0), (0.9, 0.1), 10, ""),  # one image
        ((1.0, 0.0), (0.8, 0.0), 10, "threshold 80.0%"),
        ((1.0, 0.0), (0.875, 0.125), 12, ""),  # one and a half images
        ((1.0, 0.0), (1.0, 0.25), 8, "selective error 25.0%"),
    ],
)  # fmt: skip
def test_other_coverage_is_remarked(
    before: tuple[float, float], after: tuple[float, float], images: int, word: str
) -> None:
    found = coverage_remarks(before, after, images)
    assert word in " ".join(found) and bool(found) == bool(word)


def test_coarse_steps_are_noticed() -> None:
    """Planted: probabilities in steps of an eighth, far coarser than int8's."""
    probabilities, labels = drawn(4.0, count=600)
    coarse = (np.floor(probabilities * 8) / 8).astype(np.float32)
    fitted = AbstentionPolicy(2.0, float(np.quantile(temperature_scaled(probabilities, 2.0).max(1), 0.2)))
    before, after = (abstention.coverage_and_error(one, labels, fitted) for one in (probabilities, coarse))
    assert math.isfinite(after[1]) and coverage_remarks(before, after, 600)
    assert not coverage_remarks(
        before, abstention.coverage_and_error(probabilities + 1e-7, labels, fitted), 600
    )


def blobs(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points around three corners, and a 1 that carries the bias: float[count, 3]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    corners = 3 * np.array([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])
    points = corners[labels] + rng.normal(0, 1, (count, 2))
    return np.column_stack([points, np.ones(count)]), labels


def test_points_of_no_class_are_called_unsure() -> None:
    """A softmax regression that never saw the middle is unsure there, and of few points that it knows."""
    points, labels = blobs(600, seed=1)
    weights = np.zeros((3, 3))
    for _ in range(300):
        weights -= points.T @ (softmax(points @ weights) - np.eye(3)[labels]) / len(points)
    held, known = blobs(400, seed=2)
    fitted = fit_abstention(softmax(held @ weights), known, 0.05)
    new, wanted = blobs(2000, seed=3)
    coverage, error = abstention.coverage_and_error(softmax(new @ weights), wanted, fitted)
    middle = np.random.default_rng(4).normal(0, 0.5, (500, 3)) * [1, 1, 0] + [0, 0, 1]
    strange = abstention.coverage_and_error(softmax(middle @ weights), np.zeros(500, np.int64), fitted)[0]
    assert coverage > 0.9 and error < (softmax(new @ weights).argmax(1) != wanted).mean()
    assert strange < 0.4
