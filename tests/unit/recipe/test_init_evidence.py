"""What a small set leaves to judge int8 by, and how many photos more would settle it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tledge.config import Parity
from tledge.recipe import init_evidence
from tledge.recipe.init_evidence import Evidence, validation_share

FEW = Evidence(test=36, validation=27, labels=3, has_test_folder=False)


@pytest.mark.parametrize(
    ("total", "test", "share"),
    [
        (60, 12, 0.15),  # no share up to a fifth settles anything
        (180, 36, 0.15),
        (372, 74, 0.15),
        (375, 75, 0.2),
        (400, 80, 0.18),
        (440, 88, 0.15),
        (499, 99, 0.15),
        (500, 100, 0.15),  # test photos alone decide
        (300, 95, 0.18),  # a test folder of its own
        (300, 200, 0.15),
    ],
)
def test_share_grows_only_where_it_settles_the_gates(total: int, test: int, share: float) -> None:
    assert validation_share(total, test) == share


@pytest.mark.parametrize("settled", [replace(FEW, test=100), replace(FEW, test=90, validation=59)])
def test_settled_set_says_nothing(settled: Evidence) -> None:
    assert settled.sentences() == []
    assert (settled.without_labels, settled.with_labels) == (0, 0)


def test_missing_photos_are_counted() -> None:
    assert FEW.sentences() == [
        "Few photos: about 36 test and 27 validation photos (21 of each label) will compare int8 with Keras.",
        "A verdict on int8 takes 100 test photos, or 149 photos of any kind whose predictions all agree.",
        "To settle it: 86 more photos without labels (tledge export --photos DIR), or 107 more of each "
        "label. Until then int8 is bundled as provisional.",
    ]  # a fifth of 107 more of 3 labels are the 64 test photos that are missing
    own_folder = replace(FEW, has_test_folder=True).sentences()
    assert "or 22 more of each label in the test folder." in own_folder[2]


def test_figures_are_those_of_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (init_evidence.test_photos_needed(), init_evidence.photos_needed()) == (100, 149)
    monkeypatch.setattr(init_evidence, "Parity", lambda: Parity(int8_agreement=0.9, max_drop=0.02))
    assert (init_evidence.test_photos_needed(), init_evidence.photos_needed()) == (50, 29)
    assert "takes 50 test photos, or 29 photos" in Evidence(9, 9, 3, False).sentences()[1]
