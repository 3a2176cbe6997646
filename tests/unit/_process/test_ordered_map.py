"""Results come in order, little is begun ahead, failures and early ends leave nothing running."""

import threading
import time
from itertools import count

import pytest

from tledge._process.ordered_map import in_order


@pytest.mark.parametrize("together", [1, 5, 50])
def test_order_whatever_takes_longer(together: int) -> None:
    def slow(number: int) -> int:
        time.sleep(0.01 * (number % 3 == 0))
        return number

    assert list(in_order(slow, range(12), 4, 6, together)) == list(range(12))


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_taken_than_said(ahead: int) -> None:
    taken = count()
    found = in_order(lambda number: number, taken, threads=2, ahead=ahead)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) == 4 + ahead
    found.close()


def test_thread_keeps_what_it_does_together() -> None:
    taken = count()
    found = in_order(lambda number: (number, threading.get_ident()), taken, threads=2, ahead=12, together=4)
    seen = [next(found) for _ in range(8)]
    assert [number for number, _ in seen] == list(range(8))
    assert len({thread for _, thread in seen[:4]}) == len({thread for _, thread in seen[4:]}) == 1
    assert next(taken) == 4 + 12
    found.close()


def test_threads_work_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    assert sorted(in_order(lambda _: both.wait(), range(2), threads=2, ahead=2)) == [0, 1]


def test_failure_comes_at_its_place() -> None:
    found = in_order(lambda number: 1 / number, [1, 2, 0, 4], threads=2, ahead=4)
    assert [next(found), next(found)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_nothing_to_do() -> None:
    assert list(in_order(str, [], threads=2, ahead=2)) == []
