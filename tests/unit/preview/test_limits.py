"""Limits of the preview server: the memory that requests share, and the deadline of a reader."""

from __future__ import annotations

import socket
import time
from threading import Thread

import pytest

from tledge.preview.limits import BudgetExhausted, ByteBudget, DeadlineReader


def test_bytes_become_free_again() -> None:
    budget = ByteBudget(10)
    with budget.reserve(10, 0.0), pytest.raises(BudgetExhausted), budget.reserve(1, 0.01):
        pass
    with budget.reserve(10, 0.0):
        pass


def test_reservation_waits_for_its_turn() -> None:
    budget, order = ByteBudget(10), []

    def second() -> None:
        with budget.reserve(5, 5.0):
            order.append("second")

    with budget.reserve(8, 0.0):
        thread = Thread(target=second)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_slow_sender_gains_no_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = DeadlineReader(ours)
        reader.deadline = time.monotonic() + 0.2
        theirs.sendall(b"a")
        assert reader.read(1) == b"a"
        with pytest.raises(TimeoutError):
            reader.read(1)
