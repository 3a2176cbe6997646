"""Learning rates."""

from __future__ import annotations

from tests.helpers.stage_training import rate


def test_constant_rate_is_a_number() -> None:
    assert rate(100, learning_rate=0.02) == 0.02
