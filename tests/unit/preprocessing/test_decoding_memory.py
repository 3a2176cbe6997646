"""The memory of photos that are decoded at a time: by pixels and format, and without waiting for oneself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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


def test_freed_memory_is_returned_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(decoding_memory, "_malloc_trim", lambda: trimmed.append)
    freed = decoding_memory._Freed()
    for _ in range(7):
        freed.add(40, 100)
    assert trimmed == [0, 0]


def test_only_large_photos_return_memory(budget: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[tuple[int, int]] = []
    monkeypatch.setattr(decoding_memory._freed, "add", lambda size, most: added.append((size, most)))
    image.preprocess(encoded("PNG"), (4, 4))
    monkeypatch.setattr(decoding_memory, "SMALL", PIXELS - 1)
    image.preprocess(encoded("PNG"), (4, 4))
    assert added == [(9 * PIXELS, budget.total)]


def test_photo_is_freed_before_others_get_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each thread that waits to go on would still hold one."""
    alive: list[bool] = []
    loaded: list[weakref.ref[Image.Image]] = []
    load = image._load

    def remember(opened: Image.Image, size: int) -> Any:
        loaded.append(weakref.ref(opened))
        return load(opened, size)

    @contextmanager
    def reserved(*_arguments: object, **_names: object) -> Iterator[None]:
        yield
        alive.append(loaded[-1]() is not None)

    monkeypatch.setattr(image, "_load", remember)
    monkeypatch.setattr(decoding_memory, "reserved", reserved)
    image.preprocess(encoded("PNG"), (4, 4))
    assert alive == [False]
