"""The worker that looks for the smallest arena."""

from __future__ import annotations

import pytest

from tledge.devices import tflite_micro_worker
from tledge.errors import ArtifactError


@pytest.mark.parametrize("needed", [1, 16, 17, 72880, tflite_micro_worker.MAX_ARENA])
def test_smallest_arena_is_found(needed: int) -> None:
    found = tflite_micro_worker.smallest(lambda size: size >= needed)
    assert found % 16 == 0 and needed <= found < needed + 16


def test_no_arena_is_large_enough() -> None:
    with pytest.raises(ArtifactError, match="64 MiB"):
        tflite_micro_worker.smallest(lambda size: False)
