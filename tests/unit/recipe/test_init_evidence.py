"""What a small set leaves to judge int8 by, and how many photos more would settle it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tledge.config import Parity
from tledge.recipe import init_evidence
from tledge.recipe.init_evidence import Evidence, validation_share


@pytest.mark.parametrize(
    ("total", "test", "share"),
    [
        (100, 20, 0.15),  # no share up to a fifth settles anything
        (125, 25, 0.2),
        (130, 26, 0.19),
        (143, 29, 0.15),
        (180, 36, 0.15),  # 63 of them: agreement is settled
        (249, 50, 0.15),
        (250, 50, 0.2),
        (270, 54, 0.18),
        (299, 60, 0.15),
        (300, 60, 0.15),
        (60, 90, 0.17),  # a test folder of its own
        (60, 200, 0.15),
    ],
)
def test_share_grows_only_where_it_settles_a_gate(total: int, test: int, share: float) -> None:
    assert validation_share(total, test) == share


def test_settled_set_says_nothing() -> None:
    assert Evidence(80, 20, 2, 1.0).sentences() == []
    assert Evidence(80, 20, 2, 1.0).missing == 0


def test_missing_photos_are_counted_by_label() -> None:
    few = Evidence(36, 27, 3, 1 / 0.35)
    assert few.missing == 108  # 37 more in test and validation are 106 more of all
    assert few.sentences() == [
        "Few photos: about 63 (36 test, 27 validation, 21 of each label) will compare int8 with Keras.",
        "Confirming 98% agreement takes 50, so there are enough; detecting a 1-point accuracy drop takes "
        "100.",
        "About 108 more photos (36 of each label) would settle both. Until then, export bundles int8 as "
        "provisional, with its figures.",
    ]
    own_folder = replace(few, per_photo=1.0).sentences()
    assert "About 39 more photos in the test folder (13 of each label)" in own_folder[2]
    assert "takes 50; detecting" in replace(few, test=2).sentences()[1]


def test_figures_are_those_of_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (init_evidence.images_for_agreement(), init_evidence.images_for_accuracy()) == (50, 100)
    monkeypatch.setattr(init_evidence, "Parity", lambda: Parity(int8_agreement=0.9, max_drop=0.02))
    assert (init_evidence.images_for_agreement(), init_evidence.images_for_accuracy()) == (10, 50)
    assert "2-point accuracy drop takes 50" in Evidence(9, 9, 3, 1.0).sentences()[1]
