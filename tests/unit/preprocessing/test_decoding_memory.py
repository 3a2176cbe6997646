"""The memory of photos that are decoded at a time: by pixels and format, and without waiting for oneself."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tledge._process import processors
from tledge._process.byte_budget import ByteBudget
from tledge.errors import DataError
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


def encoded(kind: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, "red").save(out, kind, **options)
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
    monkeypatch.setenv(processors.VARIABLE, str(cores))
    monkeypatch.setattr(decoding_memory, "_memory", lambda: memory)
    assert decoding_memory.total_bytes() == total << 20


def test_large_photos_share_a_few_threads(budget: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library keeps memory for each thread that has decoded one."""
    used: set[str] = set()
    monkeypatch.setattr(decoding_memory, "SMALL", PIXELS - 1)
    load = image._load

    def remember(opened: Image.Image, *others: Any) -> Any:
        used.add(threading.current_thread().name)
        return load(opened, *others)

    monkeypatch.setattr(image, "_load", remember)
    with ThreadPoolExecutor(20) as pool:
        assert len(list(pool.map(lambda _n: image.preprocess(encoded("PNG"), (4, 4)), range(40)))) == 40
    assert len(used) <= processors.usable() and all(name.startswith("decode-large") for name in used)
    used.clear()
    monkeypatch.setattr(decoding_memory, "SMALL", PIXELS)
    image.preprocess(encoded("PNG"), (4, 4))
    assert used == {threading.current_thread().name}


def test_errors_of_large_photos_reach_the_caller(budget: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_memory, "SMALL", 0)
    with pytest.raises(DataError, match="truncated"):
        image.preprocess(encoded("PNG")[:-30], (4, 4))
    assert budget._free == budget.total


def test_large_photo_is_decoded_where_no_thread_can_be_started(
    budget: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not told as damaged."""

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(decoding_memory, "SMALL", 0)
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(decoding_memory, "_threads", lambda: pool)
    with monkeypatch.context() as few:
        few.setattr(threading.Thread, "start", refused)
        assert image.preprocess(encoded("PNG"), (4, 4)).shape == (4, 4, 3)
    assert image.preprocess(encoded("PNG"), (4, 4)).shape == (4, 4, 3)
    pool.shutdown()
    assert image.preprocess(encoded("PNG"), (4, 4)).shape == (4, 4, 3)
    assert budget._free == budget.total and len(budget.sizes) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_process_has_threads_of_its_own() -> None:
    """As of a data loader that forks its workers."""
    large = encoded("PNG", size=(1200, 1000))
    image.preprocess(large, (4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking with threads is what is tried
        child = os.fork()
    if child == 0:
        os._exit(0 if image.preprocess(large, (4, 4)).shape == (4, 4, 3) else 1)
    until = time.monotonic() + 20
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked process waits for threads that it does not have")
    assert os.waitstatus_to_exitcode(ended[1]) == 0


@pytest.mark.parametrize("small", [0, PIXELS])
def test_photo_is_freed_before_others_get_its_memory(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    """Else each thread that waits to go on would still hold one."""
    alive: list[bool] = []
    loaded: list[weakref.ref[Image.Image]] = []
    load = image._load

    def remember(opened: Image.Image, *others: Any) -> Any:
        loaded.append(weakref.ref(opened))
        return load(opened, *others)

    class Watching(ByteBudget):
        @contextmanager
        def reserve(self, size: int, seconds: float | None = None) -> Iterator[None]:
            yield
            alive.append(loaded[-1]() is not None)

    monkeypatch.setattr(image, "_load", remember)
    monkeypatch.setattr(decoding_memory, "_budget", lambda: Watching(1))
    monkeypatch.setattr(decoding_memory, "SMALL", small)
    image.preprocess(encoded("PNG"), (4, 4))
    assert alive == [False]
