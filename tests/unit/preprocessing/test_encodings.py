"""Copies of a photo in other encodings: each is what it says, and is prepared to nearly the same pixels."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tledge.preprocessing import encodings, image

SIZE = (48, 64)


def photo(width: int = 300, height: int = 200) -> bytes:
    """A smooth picture whose corners differ, so that turned pixels show."""
    rows, columns = np.mgrid[0:height, 0:width]
    made = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
    made[:20, :20] = 250
    out = BytesIO()
    Image.fromarray(made.astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture(params=list(encodings.KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_copy_looks_like_the_photo(kind: str) -> None:
    """But for what it loses: colour, or what is laid on white."""
    _suffix, data = encodings.encode(photo(), kind)
    found = image.preprocess(data, SIZE).astype(int)
    wanted = image.preprocess(photo(), SIZE).astype(int)
    if kind == "grey":
        wanted = np.broadcast_to(
            np.asarray(Image.fromarray(wanted.astype(np.uint8)).convert("L"))[..., None], wanted.shape
        )
    if kind == "with an alpha channel":
        found, wanted = found[:, -6:], wanted[:, -6:]  # nearly opaque there
    assert np.abs(found - wanted).mean() < 8


def test_copy_is_what_it_says(kind: str) -> None:
    suffix, data = encodings.encode(photo(), kind)
    made = Image.open(BytesIO(data))
    assert made.format == {".jpg": "JPEG", ".png": "PNG"}[suffix]
    said = {
        "upside down by EXIF orientation 3": made.getexif().get(image.ORIENTATION) == 3,
        "turned by EXIF orientation 6": made.getexif().get(image.ORIENTATION) == 6
        and made.width < made.height,
        "turned by EXIF orientation 8": made.getexif().get(image.ORIENTATION) == 8
        and made.width < made.height,
        "with an alpha channel": made.mode == "RGBA" and np.ptp(np.asarray(made)[..., 3]) > 200,
        "grey": made.mode == "L",
        "with a palette": made.mode == "P",
        "progressive, odd sides": bool(made.info.get("progressive"))
        and made.width % 2 == made.height % 2 == 1,
    }
    assert said[kind]


def test_tag_is_needed(kind: str) -> None:
    """A runner that ignores EXIF is caught: the pixels without the tag are far away."""
    if "EXIF" not in kind:
        pytest.skip("no tag")
    _suffix, data = encodings.encode(photo(), kind)
    without = np.asarray(Image.open(BytesIO(data)).resize(SIZE[::-1])).astype(int)
    assert np.abs(without - image.preprocess(photo(), SIZE)).mean() > 20


def test_equal_photos_give_equal_files(kind: str) -> None:
    assert encodings.encode(photo(), kind) == encodings.encode(photo(), kind)


def test_copies_are_small(kind: str) -> None:
    _suffix, data = encodings.encode(photo(1200, 800), kind)
    assert max(Image.open(BytesIO(data)).size) <= encodings.LONGEST
