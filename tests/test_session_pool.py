"""Images divided over sessions come back in order, however few there are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tledge.runtime import SessionPool


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
    assert sorted(one.given for one in sessions) == sorted([count // 3 + (n < count % 3) for n in range(3)])


def test_failure_in_one_is_raised() -> None:
    class Broken(Brightness):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise RuntimeError("no such tensor")

    with pytest.raises(RuntimeError, match="no such tensor"):
        SessionPool([Brightness(), Broken()]).run(np.zeros((4, 1, 1, 3), np.uint8))
