"""The statistics, held against scipy's and against worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from tledge.statistics import mcnemar, paired_interval, wilson

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 20), (981, 1000)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_narrows_with_images() -> None:
    few, many = wilson(9, 10), wilson(900, 1000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_wilson_takes_another_quantile() -> None:
    expected = stats.binomtest(7, 20).proportion_ci(0.99, method="wilson")
    found = wilson(7, 20, stats.norm.ppf(0.995))
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (1, -1), (3, 2), (-1, 2)])
def test_wilson_refuses_no_proportion(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        wilson(successes, trials)


@pytest.mark.parametrize(("lost", "won"), [(1, 0), (5, 5), (1, 9), (12, 3), (0, 8), (300, 250)])
def test_mcnemar_equals_scipy(lost: int, won: int) -> None:
    assert mcnemar(lost, won) == pytest.approx(stats.binomtest(lost, lost + won).pvalue, rel=1e-9)
    assert mcnemar(lost, won) == mcnemar(won, lost)


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


def test_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        kinds = rng.choice(3, 300, p=[0.10, 0.06, 0.84])
        before, after = kinds != 1, kinds != 0
        low, high = paired_interval(before, after, seed=seed, rounds=500)
        covered += low <= -0.04 <= high
    assert 0.90 <= covered / 200 <= 0.99
