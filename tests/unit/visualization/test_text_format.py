"""Figures as text."""

from __future__ import annotations

from tledge.contract import AbstentionPolicy
from tledge.visualization import text_format


def test_training_says_that_it_always_answers() -> None:
    assert text_format.unsure(AbstentionPolicy(1.2, 0.0)) == "never, it answers every photo"
