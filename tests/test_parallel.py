"""Results come in order, little is begun ahead, failures and early ends leave nothing running."""

import threading
import time
from itertools import count

import pytest

from tledge.parallel import in_order


def test_order_whatever_takes_longer() -> None:
    def slow(number: int) -> int:
        time.sleep(0.01 * (number % 3 == 0))
        return number

    assert list(in_order(slow, range(12), threads=4, ahead=6)) == list(range(12))


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_taken_than_said(ahead: int) -> None:
    taken = count()
    found = in_order(lambda number: number, taken, threads=2, ahead=ahead)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) == 4 + ahead
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
