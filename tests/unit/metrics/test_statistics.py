"""The statistics, held against scipy's and against worked examples."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from tledge.metrics import statistics
from tledge.metrics.statistics import (
    calibration_error,
    confusion,
    fisher,
    mcnemar,
    paired_interval,
    reliability,
    wilson,
)

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 20), (981, 1000)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("trials", [1, 7, 30, 97, 1000])
def test_wilson_of_none_and_all_touches_the_end(trials: int) -> None:
    """Exactly, and not up to a rounding error: an interval must not end below 0 or above 1."""
    assert wilson(0, trials)[0] == 0.0 and wilson(trials, trials)[1] == 1.0


def test_wilson_narrows_with_images() -> None:
    few, many = wilson(9, 10), wilson(900, 1000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_wilson_takes_another_quantile() -> None:
    expected = stats.binomtest(7, 20).proportion_ci(0.99, method="wilson")
    found = wilson(7, 20, stats.norm.ppf(0.995))
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (1, -1), (3, 2), (-1, 2)])
def test_wilson_refuses_no_proportion(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="are no proportion"):
        wilson(successes, trials)


@pytest.mark.parametrize(("lost", "won"), [(1, 0), (5, 5), (1, 9), (12, 3), (0, 8), (300, 250)])
def test_mcnemar_equals_scipy(lost: int, won: int) -> None:
    assert mcnemar(lost, won) == pytest.approx(stats.binomtest(lost, lost + won).pvalue, rel=1e-9)
    assert mcnemar(lost, won) == mcnemar(won, lost)


@pytest.mark.parametrize(
    "counts",
    [(0, 5, 5, 5), (9, 10, 8, 10), (300, 372, 80, 120), (0, 0, 3, 4), (5, 5, 7, 7), (9000, 10000, 95, 100)],
)
def test_fisher_equals_scipy(counts: tuple[int, int, int, int]) -> None:
    right_a, images_a, right_b, images_b = counts
    table = [[right_a, images_a - right_a], [right_b, images_b - right_b]]
    assert fisher(*counts) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-5, abs=1e-12)


def test_fisher_refuses_no_proportion() -> None:
    with pytest.raises(ValueError, match="no proportion"):
        fisher(3, 2, 0, 1)


def test_mcnemar_without_discordant_pairs() -> None:
    assert mcnemar(0, 0) == 1.0


def test_mcnemar_of_many_pairs() -> None:
    assert mcnemar(800, 800) == 1.0
    assert 0 <= mcnemar(1200, 400) < 1e-80


def rights(lost: int, won: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong before and after, with this many pairs of each kind."""
    before = np.array([True] * lost + [False] * won + [True] * same)
    after = np.array([False] * lost + [True] * won + [True] * same)
    return before, after


def test_interval_holds_the_change() -> None:
    low, high = paired_interval(*rights(lost=8, won=2, same=190))
    assert low < -6 / 200 < high
    assert low == pytest.approx(-0.06, abs=0.015)
    assert high == pytest.approx(0.0, abs=0.015)


def test_interval_without_change_is_zero() -> None:
    assert paired_interval(*rights(lost=0, won=0, same=50)) == (0.0, 0.0)
    assert paired_interval(*rights(lost=40, won=0, same=0)) == (-1.0, -1.0)


def test_interval_turns_with_the_pairs() -> None:
    low, high = paired_interval(*rights(lost=30, won=5, same=165))
    before, after = rights(lost=30, won=5, same=165)
    assert paired_interval(after, before) == pytest.approx((-high, -low), abs=0.01)
    assert high < 0


def test_interval_same_for_a_seed() -> None:
    before, after = rights(lost=90, won=40, same=867)
    assert paired_interval(before, after) == paired_interval(before, after)
    drawn = {paired_interval(before, after, seed=seed, rounds=50) for seed in range(5)}
    assert len(drawn) > 1


def test_interval_is_that_of_seed_0_and_2000_rounds() -> None:
    """Reports of one run must not change from one version to the next."""
    before, after = rights(lost=90, won=40, same=867)
    assert paired_interval(before, after) == paired_interval(before, after, seed=0, rounds=2000)
    low, high = paired_interval(before, after)
    assert (low, high) == pytest.approx((-0.0742227, -0.0290622), abs=1e-6)


def test_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        kinds = rng.choice(3, 300, p=[0.10, 0.06, 0.84])
        before, after = kinds != 1, kinds != 0
        low, high = paired_interval(before, after, seed=seed, rounds=500)
        covered += low <= -0.04 <= high
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize(("lost", "won", "same"), [(8, 2, 190), (30, 5, 165), (1, 0, 299), (60, 60, 880)])
def test_interval_equals_scipy(lost: int, won: int, same: int) -> None:
    before, after = rights(lost, won, same)
    change = after.astype(float) - before
    expected = stats.bootstrap((change,), np.mean, method="percentile", n_resamples=20000, rng=1)
    step = 1 / len(change)  # quantiles of so coarse a statistic jump by whole images
    found = paired_interval(before, after, rounds=20000)
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=1.01 * step)


def confident(*answers: tuple[float, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Two-class probabilities with these confidences in class 0, and labels that make them right or not."""
    sure = np.array([one for one, _right in answers], np.float32)
    labels = np.array([0 if right else 1 for _one, right in answers])
    return np.stack([sure, 1 - sure], axis=1), labels


def test_calibration_error_worked_by_hand() -> None:
    """Four images: bins (0.53, 0.6] and (0.93, 1] hold two each.

    |1/2 - 0.575| * 2/4 + |1 - 0.95| * 2/4 = 0.0375 + 0.025 = 0.0625.
    """
    found = calibration_error(*confident((0.56, True), (0.59, False), (0.94, True), (0.96, True)))
    assert found == pytest.approx(0.0625, abs=1e-6)


def test_calibration_error_of_five_bins() -> None:
    """(0.4, 0.6]: 0.51 wrong, 0.54 right; (0.6, 0.8]: 0.65, 0.75 right, 0.7 wrong; then 0.9 x 4, one wrong.

    2/9 * |1/2 - 0.525| + 3/9 * |2/3 - 0.7| + 4/9 * |3/4 - 0.9| = (0.05 + 0.1 + 0.6) / 9.
    """
    answers = [(0.51, False), (0.54, True), (0.65, True), (0.75, True), (0.7, False)]
    answers += [(0.9, True)] * 3 + [(0.9, False)]
    assert calibration_error(*confident(*answers), bins=5) == pytest.approx(0.75 / 9, abs=1e-6)


def plain_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """The sum of Guo et al. 2017, equation 3, bin by bin and image by image."""
    total = 0.0
    for number in range(bins):
        members = [
            (float(max(row)), int(np.argmax(row)) == label)
            for row, label in zip(probabilities, labels, strict=True)
            if number / bins < max(row) <= (number + 1) / bins
        ]
        if members:
            accuracy = sum(right for _sure, right in members) / len(members)
            sure = sum(sure for sure, _right in members) / len(members)
            total += len(members) / len(labels) * abs(accuracy - sure)
    return total


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_error_equals_loop(classes: int, bins: int) -> None:
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.full(classes, 0.4), 400).astype(np.float32)
    labels = np.array([rng.choice(classes, p=row / row.sum()) for row in probabilities.astype(float)])
    found = calibration_error(probabilities, labels, bins)
    assert found == pytest.approx(plain_calibration_error(probabilities, labels, bins), abs=1e-7)


def test_bin_holds_its_upper_edge() -> None:
    """0.75 of four bins is in the third: with 0.7 wrong it averages, apart from it it would not."""
    assert calibration_error(*confident((0.75, True), (0.7, False)), bins=4) == pytest.approx(0.225)
    assert calibration_error(*confident((0.76, True), (0.7, False)), bins=4) == pytest.approx(0.47)


def test_calibration_error_bounds() -> None:
    assert calibration_error(*confident((1.0, True), (1.0, True))) == 0.0
    assert calibration_error(*confident((1.0, False))) == 1.0
    with pytest.raises(ValueError, match="no image"):
        calibration_error(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))


def test_reliability_bins_hold_every_image() -> None:
    shares = np.array([[0.95, 0.05], [0.9, 0.1], [0.3, 0.7], [0.5, 0.5]], np.float32)
    bins = reliability(shares, np.array([0, 1, 1, 0]), bins=10)
    assert [(round(one.low, 1), round(one.high, 1), one.images) for one in bins] == [
        (0.4, 0.5, 1), (0.6, 0.7, 1), (0.8, 0.9, 1), (0.9, 1.0, 1)
    ]  # fmt: skip
    assert [one.accuracy for one in bins] == [1, 1, 0, 1]
    assert bins[-1].confidence == pytest.approx(0.95)


def test_confusion_counts_labels_down_and_answers_across() -> None:
    counts = confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_confusion_counts_in_integers() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3).dtype == np.int64


@pytest.mark.parametrize(("successes", "trials"), [(35, 36), (30, 63), (190, 200), (1, 9), (5000, 5100)])
def test_exact_interval_leaves_equal_tails(successes: int, trials: int) -> None:
    low, high = statistics.clopper_pearson(successes, trials)

    def at_least(count: int, share: float) -> float:
        return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count, trials + 1))

    assert at_least(successes, low) == pytest.approx(0.025)
    assert 1 - at_least(successes + 1, high) == pytest.approx(0.025)


def test_exact_interval_at_the_ends_and_between() -> None:
    assert statistics.clopper_pearson(36, 36) == (pytest.approx(0.025 ** (1 / 36)), 1.0)
    assert statistics.clopper_pearson(0, 36) == (0.0, pytest.approx(1 - 0.025 ** (1 / 36)))
    lows = [statistics.clopper_pearson(count, 36)[0] for count in (34, 34.5, 35)]
    assert lows == sorted(lows) and len(set(lows)) == 3
    with pytest.raises(ValueError, match="no proportion"):
        statistics.clopper_pearson(3, 2)
