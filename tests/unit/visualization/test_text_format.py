"""Figures as text."""

from __future__ import annotations

from tledge import words
from tledge.contract import Confidence


def test_training_says_that_it_always_answers() -> None:
    assert words.unsure(Confidence(1.2, 0.0)) == "never, it answers every photo"
