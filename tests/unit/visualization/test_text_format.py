"""Figures as text."""

from __future__ import annotations

from tledge.contract import AbstentionPolicy
from tledge.visualization import text_format


def test_policy_without_threshold_rejects_nothing() -> None:
    assert text_format.abstention(AbstentionPolicy(1.2, 0.0)) == "not set: no prediction is rejected"
    assert text_format.abstention(AbstentionPolicy(1.2, 0.0, reason="few photos")) == "not set: few photos"
