"""Photos are decoded without changing what belongs to the program that imports tledge."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, UnidentifiedImageError

from tests.helpers import damaged
from tledge.errors import DataError
from tledge.preprocessing import image, pillow_open
from tledge.preprocessing.image import preprocess

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give each test filters and a limit of its own."""
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        yield
    Image.MAX_IMAGE_PIXELS = limit


def decode_everything(times: int = 8) -> None:
    """Decode good, damaged and hostile photos in eight threads."""
    photos = [damaged.encoded(kind) for kind in FORMATS] + [data for _word, data in damaged.files().values()]

    def decode(data: bytes) -> None:
        with contextlib.suppress(DataError):
            preprocess(data, (8, 8))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, photos * times))


def test_global_state_is_as_before() -> None:
    warnings.simplefilter("error")
    Image.MAX_IMAGE_PIXELS = 1_000_000
    before = list(warnings.filters)
    decode_everything()
    assert list(warnings.filters) == before
    assert Image.MAX_IMAGE_PIXELS == 1_000_000


def test_warning_shown_once_stays_shown_once() -> None:
    """Changing the filters makes Python forget what it has shown."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            warnings.warn("of the program", UserWarning, stacklevel=1)
            preprocess(damaged.encoded("TIFF"), (8, 8))
    assert [str(warning.message) for warning in shown] == ["of the program"]


def odd_png() -> bytes:
    """A PNG that Pillow warns of: it says that it is animated, with no frame."""
    whole = damaged.encoded("PNG")
    start = whole.index(b"IDAT") - 4
    return whole[:start] + damaged.chunk(b"acTL", bytes(8)) + whole[start:]


def while_decoding(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act in this thread while another one decodes a photo."""
    inside, done = threading.Event(), threading.Event()
    before = image._load

    def waiting(opened: Image.Image, *others: Any) -> object:
        inside.set()
        assert done.wait(10)
        return before(opened, *others)

    monkeypatch.setattr(image, "_load", waiting)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(preprocess, odd_png(), (8, 8))
        assert inside.wait(10)
        try:
            act()
        finally:
            done.set()
        assert decoding.result().shape == (8, 8, 3)


def test_other_threads_are_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that opens the same photo itself meanwhile sees what Pillow says of it."""
    warnings.simplefilter("error")

    def open_it() -> None:
        with pytest.raises(UserWarning, match="Invalid APNG"):
            Image.open(BytesIO(odd_png()))

    open_it()
    while_decoding(monkeypatch, open_it)
    assert preprocess(odd_png(), (8, 8)).shape == (8, 8, 3)


def test_other_threads_keep_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.MAX_IMAGE_PIXELS = 10

    def open_it() -> None:
        with pytest.raises(Image.DecompressionBombError):
            Image.open(BytesIO(damaged.encoded("JPEG")))

    while_decoding(monkeypatch, open_it)


def test_filters_replaced_meanwhile_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread enters `catch_warnings` while a photo is decoded, and leaves it afterwards."""
    warnings.simplefilter("error")
    before = list(warnings.filters)
    catching = warnings.catch_warnings()
    while_decoding(monkeypatch, lambda: catching.__enter__() and None)
    catching.__exit__(None, None, None)
    with pytest.raises(UserWarning, match="Invalid APNG"):
        Image.open(BytesIO(odd_png()))
    preprocess(damaged.encoded("PNG"), (8, 8))
    assert list(warnings.filters) == before


def test_photo_above_pillows_limit_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is `MAX_PIXELS`, whatever Pillow's is: between its two limits it would warn."""
    warnings.simplefilter("error")
    for limit in (None, 10, 1000):
        Image.MAX_IMAGE_PIXELS = limit
        assert preprocess(damaged.encoded("JPEG"), (8, 8)).shape == (8, 8, 3)


def test_webp_above_pillows_limit_is_too_large() -> None:
    Image.MAX_IMAGE_PIXELS = 10
    with pytest.raises(DataError, match=r"too large, \d+ pixels; at most 100000000 are read"):
        preprocess(damaged.encoded("WEBP"), (8, 8))


def test_log_of_pillow_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    preprocess(damaged.encoded("PNG"), (8, 8))
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("PIL").handlers)
    assert capsys.readouterr().err == ""


def test_only_named_formats_are_opened() -> None:
    assert pillow_open.open_image(BytesIO(damaged.encoded("PNG")), FORMATS).format == "PNG"
    with pytest.raises(UnidentifiedImageError):
        pillow_open.open_image(BytesIO(damaged.encoded("PNG")), ("JPEG", "no such format"))
