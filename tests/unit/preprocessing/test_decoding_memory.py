"""The memory of photos that are decoded at a time: by pixels and format, and without waiting for oneself."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tledge._process.byte_budget import ByteBudget
from tledge.preprocessing import app_variants, decoding_memory, image

PIXELS = 40 * 30


class Recorded(ByteBudget):
    """A budget that notes what is reserved."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.sizes: list[int] = []

    def _take(self, size: int, seconds: float | None) -> None:
        self.sizes.append(size)
        super()._take(size, seconds)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded(1 << 30)
    monkeypatch.setattr(decoding_memory, "_budget", lambda: made)
    return made


def encoded(kind: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.new("RGB", (40, 30), "red").save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "each"), [("JPEG", 9), ("PNG", 9), ("WEBP", 16), ("AVIF", 10)])
def test_photo_counts_by_its_pixels(budget: Recorded, kind: str, each: int) -> None:
    image.preprocess(encoded(kind), (4, 4))
    image.decode(encoded(kind))
    assert budget.sizes == [each * PIXELS, (each + 7) * PIXELS]


def test_pixels_count_too(budget: Recorded) -> None:
    image.preprocess(np.zeros((30, 40, 3), np.uint8), (4, 4))
    assert budget.sizes == [9 * PIXELS]


def test_what_is_done_with_a_whole_photo_counts_once(budget: Recorded) -> None:
    """A variant decodes again what it encoded: the thread would wait for itself."""
    budget.total = budget._free = 16 * PIXELS
    photos = [encoded("JPEG")] * 8
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(
            lambda data: app_variants.use_photo(data, lambda p: app_variants.jpeg_reencoded(p, (4, 4))),
            photos,
        )
        assert all(pixels.shape == (4, 4, 3) for pixels in made)
    assert budget.sizes == [16 * PIXELS] * 8 and budget._free == budget.total


def test_photo_larger_than_everything_is_decoded_alone(budget: Recorded) -> None:
    budget.total = budget._free = 100
    image.preprocess(encoded("PNG"), (4, 4))
    assert budget.sizes == [100]


def test_damage_gives_the_memory_back(budget: Recorded) -> None:
    for _ in range(3):
        with pytest.raises(Exception, match="truncated"):
            image.preprocess(encoded("PNG")[:-30], (4, 4))
    assert budget._free == budget.total


@pytest.mark.parametrize(
    ("cores", "memory", "total"),
    [(1, 64 << 30, 512), (8, 64 << 30, 1024), (64, 4 << 30, 1024), (64, 1 << 30, 512)],
)
def test_total_grows_with_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: int, total: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    monkeypatch.setattr(decoding_memory, "_memory", lambda: memory)
    assert decoding_memory.total_bytes() == total << 20
