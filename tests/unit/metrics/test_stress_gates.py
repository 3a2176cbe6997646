"""The stress gates look at the worst of all corruptions, and know when images are too few."""

from __future__ import annotations

import numpy as np
import pytest

from tledge.config import Parity
from tledge.metrics.parity_gates import PredictionComparison, compare_predictions
from tledge.metrics.stress_gates import check_stress


def comparison(images: int, changed: int, *, wrong: bool) -> PredictionComparison:
    """Of so many images, which Keras predicts right (or wrong), that many changed their prediction."""
    reference = np.tile(np.array([[0.9, 0.06, 0.04]], np.float32), (images, 1))
    other = reference.copy()
    other[:changed] = (0.06, 0.9, 0.04)
    labels = np.full(images, 2 if wrong else 0)
    return compare_predictions(labels, reference, other, ("a", "b", "c"))


def test_passes_where_every_corruption_does() -> None:
    cells = {("blur", level): comparison(200, level, wrong=False) for level in (1, 2, 3)}
    assert check_stress(cells, Parity()) == ("passed", ())


@pytest.mark.parametrize("worst", [("blur", 3), ("jpeg", 1)])
def test_names_the_worst_corruption(worst: tuple[str, int]) -> None:
    cells = {("noise", 2): comparison(200, 2, wrong=True), worst: comparison(200, 30, wrong=True)}
    verdict, reasons = check_stress(cells, Parity())
    assert verdict == "failed"
    assert [
        reason.startswith(f"under {worst[0]}, level {worst[1]}: agrees with Keras on 170")
        for reason in reasons
    ] == [True]


@pytest.mark.parametrize(("changed", "verdict"), [(10, "passed"), (11, "failed")])
def test_agreement_has_its_limit(changed: int, verdict: str) -> None:
    """95 % of 200 images are 190."""
    assert check_stress({("dark", 1): comparison(200, changed, wrong=True)}, Parity())[0] == verdict


@pytest.mark.parametrize(("changed", "verdict"), [(6, "passed"), (7, "failed")])
def test_drop_has_its_limit(changed: int, verdict: str) -> None:
    """3 % of 200 images are 6; their agreement is well above its gate."""
    found, reasons = check_stress({("dark", 1): comparison(200, changed, wrong=False)}, Parity())
    assert found == verdict
    assert all(
        "under dark, level 1: accuracy 96.5%, Keras 100.0%: a drop of 3.5 points" in reason
        for reason in reasons
    )


def test_few_images_decide_nothing() -> None:
    verdict, reasons = check_stress({("dark", 1): comparison(19, 1, wrong=False)}, Parity())
    assert verdict == "undecided"
    assert "needs at least 20 images" in reasons[0] and "needs at least 34 images, there are 19" in reasons[1]


def test_few_images_fail_what_is_far_below() -> None:
    assert check_stress({("dark", 1): comparison(19, 12, wrong=False)}, Parity())[0] == "failed"
