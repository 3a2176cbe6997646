"""Open images with Pillow without changing the global state of Pillow or of the `warnings` module.

A program that imports tledge has its own limit of pixels, its own warning filters and its own threads.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_this_thread = threading.local()


class _PillowModules:
    """Serve as the module pattern of a warning filter: match Pillow's modules in decoding threads only."""

    def match(self, module: str) -> bool:
        return getattr(_this_thread, "is_decoding", False) and module.startswith("PIL.")


class _SharedFilter:
    """One entry of `warnings.filters`, which stands there while at least one thread decodes."""

    def __init__(self) -> None:
        self._entry = ("ignore", None, Warning, _PillowModules(), 0)
        self._lock = threading.Lock()
        self._threads = 0

    def count(self, change: int) -> None:
        """Count a thread that begins (1) or ends (-1) to decode."""
        with self._lock:
            self._threads += change
            filters = cast("list[Any]", warnings.filters)
            # Not only the first and the last thread look: others may have replaced the filters meanwhile.
            places = [number for number, entry in enumerate(filters) if entry is self._entry]
            if self._threads and not places:
                filters.insert(0, self._entry)
            for place in reversed(places if not self._threads else []):
                del filters[place]


_shared_filter = _SharedFilter()


@contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Ignore what Pillow warns of in this thread, such as odd metadata; errors are raised as usual.

    `warnings.catch_warnings` replaces the filters of all threads. This adds one filter, which only applies to
    the threads that are in here, and removes it again when the last thread leaves.
    """
    if getattr(_this_thread, "is_decoding", False):
        yield
        return
    _silence_log()
    _shared_filter.count(1)
    _this_thread.is_decoding = True
    try:
        yield
    finally:
        _this_thread.is_decoding = False
        _shared_filter.count(-1)


@cache
def _silence_log() -> None:
    """Keep Pillow's log from stderr where the program configured no logging."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


def open_image(file: IO[bytes], formats: Sequence[str]) -> ImageFile:
    """Open an image as `Image.open` does, but without Pillow's global limit of pixels.

    The caller checks the size. Raises UnidentifiedImageError where no format fits, and whatever Pillow raises
    for damage.
    """
    from PIL import Image, UnidentifiedImageError

    prefix = file.read(16)
    Image.preinit()
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN.get(name, (None, None))
        accepted = accept(prefix) if accept else True
        if factory is None or not accepted or isinstance(accepted, str):  # a str says what is not installed
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError("cannot identify the image's format")
