"""Images that are divided over several sessions come back in order."""

from __future__ import annotations

from threading import Barrier

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.runtime.session_pool import SessionPool


class Brightness:
    """Answers with each image's first byte, and notes how many it was given."""

    kernels = "none"

    def __init__(self) -> None:
        self.given = 0

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.given += len(images)
        return images[:, 0, 0, :1].astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_order_is_kept(count: int) -> None:
    images = np.arange(count * 3, dtype=np.uint8).reshape(count, 1, 1, 3)
    sessions = [Brightness() for _ in range(3)]
    found = SessionPool(sessions).run(images)
    assert np.array_equal(found, images[:, 0, 0, :1])
    assert sum(one.given for one in sessions) == count


def test_work_is_shared() -> None:
    """Each session waits for the other: one alone would wait for ever."""
    meeting = Barrier(2, timeout=20)

    class Waiting(Brightness):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            meeting.wait()
            return super().run(images)

    sessions = [Waiting(), Waiting()]
    SessionPool(sessions).run(np.zeros((4, 1, 1, 3), np.uint8))
    assert [one.given for one in sessions] == [2, 2]


def test_failure_in_one_is_raised() -> None:
    class Broken(Brightness):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise RuntimeError("no such tensor")

    with pytest.raises(RuntimeError, match="no such tensor"):
        SessionPool([Broken(), Broken()]).run(np.zeros((4, 1, 1, 3), np.uint8))
