"""Verdicts from more images than the test split: few wrong ones pass, and a copy is no image."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import verdict_draws
from tests.helpers.verdict_draws import compared
from tledge.config import Parity
from tledge.metrics import independent_evidence as evidence
from tledge.metrics.independent_evidence import IndependentAgreement

MOST_MORE = 0.05
"""By how much more often than before a model below its gate may pass."""


def agreeing(images: int, disagreeing: int = 0) -> IndependentAgreement:
    same = np.arange(images) >= disagreeing
    return evidence.agreement_by_image(same, np.arange(images))


@pytest.mark.parametrize("images", verdict_draws.TEST_IMAGES)
@pytest.mark.parametrize(("agreement", "more"), [(0.9799, 0), (0.9799, 150), (0.97, 150)])
def test_models_below_the_gate_pass_hardly_more_often(images: int, agreement: float, more: int) -> None:
    found = verdict_draws.rates(agreement, images, more, draws=600)
    assert found.now <= found.before + MOST_MORE
    if images >= 100:
        assert found.now == found.before, "where the test images decide, nothing changes"


def test_copies_counted_as_images_would_let_them_pass() -> None:
    """The check above can fail: this rule breaks the bound."""
    found = verdict_draws.rates(0.9799, 63, draws=600, common=0.8)
    assert found.naive > found.before + 2 * MOST_MORE > found.now


def test_good_models_pass_with_enough_images() -> None:
    found = verdict_draws.rates(1 - 1e-9, 36, 113, draws=20)
    assert (found.before, found.now) == (0.0, 1.0)


@pytest.mark.parametrize(("images", "verdict"), [(148, None), (149, "passed")])
def test_it_takes_149_images_that_agree(images: int, verdict: str | None) -> None:
    decided = evidence.decide(agreeing(images), compared(36, 0), "int8", Parity())
    assert (decided and decided[0]) == verdict
    assert evidence.images_to_confirm(agreeing(36), 0.98) == 149


@pytest.mark.parametrize("disagreeing", [1, 3])
def test_images_to_confirm_are_the_fewest(disagreeing: int) -> None:
    needed = evidence.images_to_confirm(agreeing(60, disagreeing), 0.98)
    assert agreeing(needed, disagreeing).confirmed >= 0.98 > agreeing(needed - 1, disagreeing).confirmed
    limits = Parity()
    assert evidence.images_needed(agreeing(60, disagreeing), compared(36, 0), "int8", limits) == max(
        needed, 100 * disagreeing
    )
    assert evidence.images_needed(agreeing(60), compared(36, 0), "float", limits) == 0


def test_a_drop_that_disagreements_allow_is_not_excluded() -> None:
    """Two in 150 are more than a point, if both were right before: their labels are not known."""
    limits = Parity(int8_agreement=0.9)
    assert evidence.decide(agreeing(150, 2), compared(36, 0), "int8", limits) is None
    assert evidence.decide(agreeing(150, 2), compared(36, 0), "fp16", Parity(fp16_agreement=0.9)) is not None
    assert evidence.decide(agreeing(90), compared(36, 0), "int8", limits) is None, "90 cannot show a point"


def test_what_is_clearly_below_fails() -> None:
    decided = evidence.decide(agreeing(120, 12), compared(36, 1), "int8", Parity())
    assert decided is not None and decided[0] == "failed"
    assert decided[1][0].startswith("agrees with Keras on 90.0% of 120 independent images")


def test_an_image_counts_once_with_the_share_of_its_copies() -> None:
    same = np.array([True, True, True, False, True, True])
    found = evidence.agreement_by_image(same, np.array([0, 0, 1, 1, 2, 2]))
    assert (found.images, found.agreement) == (3, pytest.approx(2.5 / 3))
    all_same = evidence.agreement_by_image(np.ones(10, bool), np.repeat(np.arange(2), 5))
    assert all_same == evidence.agreement_by_image(np.ones(2, bool), np.arange(2))
