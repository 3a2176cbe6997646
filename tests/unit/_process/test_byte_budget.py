"""Bytes that threads share: they become free again, in the order in which threads asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest

from tledge._process.byte_budget import BudgetExhausted, ByteBudget


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


def test_large_reservation_is_not_overtaken() -> None:
    """A small one that asks later waits, although there is room for it: others could follow for ever."""
    budget, order = ByteBudget(10), []

    def take(name: str, size: int) -> None:
        with budget.reserve(size):
            order.append(name)

    with ThreadPoolExecutor(2) as pool, budget.reserve(5):
        pool.submit(take, "large", 10)
        wait_for(lambda: len(budget._waiting) == 1)
        pool.submit(take, "small", 1)
        wait_for(lambda: len(budget._waiting) == 2)
        assert order == []
    assert order == ["large", "small"]


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.002)
    pytest.fail("it did not happen")


def test_who_gives_up_lets_others_pass() -> None:
    budget = ByteBudget(10)
    with budget.reserve(5):
        with pytest.raises(BudgetExhausted), budget.reserve(10, 0.01):
            pass
        with budget.reserve(5, 0.0):
            pass
