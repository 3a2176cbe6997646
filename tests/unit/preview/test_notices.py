"""What the owner is told on the terminal: each kind now and then, whatever clients do."""

from __future__ import annotations

import time

import pytest

from tledge.preview.notices import Notices


def test_notices_of_a_kind_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    notices = Notices(told.append)
    for number in range(5):
        notices.add("slow", f"slow {number}.")
    notices.add("refused", "refused.")
    now[0] += 31
    notices.add("slow", "slow again.")
    assert told == ["slow 0.", "refused.", "slow again. (4 like this before.)"]
