"""Contact sheets: every picture in its place, text that fits, the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from tledge.visualization.contact_sheet import COLUMNS, MAX_IMAGES, _plain, _shortened, sheet

Pixels = NDArray[np.uint8]
FONT = ImageFont.load_default(12)


def plain(count: int, shape: tuple[int, int] = (40, 40)) -> Pixels:
    """Pictures of one colour each, no two alike, none as the page is."""
    colours = np.stack([np.arange(count) * 4, 255 - np.arange(count) * 4, np.full(count, 90)], axis=1)
    return np.broadcast_to(colours.astype(np.uint8)[:, None, None], (count, *shape, 3))


def drawn(folder: Path, images: Pixels, captions: list[str] | None = None, title: str = "hands") -> Pixels:
    path = folder / "sheet.png"
    sheet(images, captions or ["rock"] * len(images), path, title)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def area(page: Pixels, picture: Pixels) -> Pixels:
    """Row and column of every pixel of the page that has the picture's colour."""
    found: Pixels = np.argwhere((page == picture[0, 0]).all(-1))
    return found


def test_pictures_stand_in_order(tmp_path: Path) -> None:
    images = plain(23)
    page = drawn(tmp_path, images)
    corners = [tuple(area(page, one).min(0).tolist()) for one in images]
    assert corners == sorted(corners)
    assert len({top for top, _left in corners}) == 3
    assert len({left for _top, left in corners}) == COLUMNS


def test_pictures_are_112_pixels(tmp_path: Path) -> None:
    images = plain(2)
    page = drawn(tmp_path, images)
    for one in images:
        found = area(page, one)
        assert (np.ptp(found, axis=0) + 1).tolist() == [112, 112]
        assert len(found) == 112 * 112


def test_oblong_picture_keeps_shape(tmp_path: Path) -> None:
    images = plain(1, (80, 40))
    assert (np.ptp(area(drawn(tmp_path, images), images[0]), axis=0) + 1).tolist() == [112, 56]


def test_no_more_than_sixty(tmp_path: Path) -> None:
    images = plain(MAX_IMAGES + 3)
    page = drawn(tmp_path, images)
    assert all(len(area(page, one)) for one in images[:MAX_IMAGES])
    assert not any(len(area(page, one)) for one in images[MAX_IMAGES:])


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), np.uint8)
    for name in ("a.png", "b.png"):
        sheet(images, ["rock"] * 12, tmp_path / name, "hands")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    sheet(images, ["rock"] * 11 + ["paper"], tmp_path / "b.png", "hands")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_text_is_drawn(tmp_path: Path) -> None:
    images = plain(2)
    with_text = drawn(tmp_path, images)
    without = drawn(tmp_path, images, [" ", " "], "")
    changed = np.argwhere((with_text != without).any(-1))
    picture = area(with_text, images[0])
    above, below = changed[changed[:, 0] < picture[:, 0].min()], changed[changed[:, 0] > picture[:, 0].max()]
    assert len(above) > 50
    assert len(below) > 50
    assert len(above) + len(below) == len(changed)


def test_more_lines_stand_below(tmp_path: Path) -> None:
    images = plain(COLUMNS + 1)
    path = tmp_path / "sheet.png"
    sheet(images, ["rock"] * 11, path, "hands", (["Keras 98% rock"] * 11, ["now 51% paper"] * 10 + [" "]))
    with Image.open(path) as opened:
        page = np.asarray(opened.convert("RGB"))
    first, below, last = (area(page, images[place]) for place in (0, COLUMNS, 1))
    between = page[first[:, 0].max() + 2 : below[:, 0].min() - 1, : last[:, 1].min() - 1]
    written = (between != 255).any((1, 2))
    starts = np.flatnonzero(written & ~np.roll(written, 1))
    assert len(starts) == 3
    assert page[below[:, 0].max() + 2 :].min() < 255
    assert (page[-20:] == 255).all()


def test_caption_stays_in_its_cell(tmp_path: Path) -> None:
    images = plain(2)
    page = drawn(tmp_path, images, ["a label that is far too long for its picture " * 3, " "])
    left, right = area(page, images[0])[:, 1].max(), area(page, images[1])[:, 1].min()
    bottom = area(page, images[0])[:, 0].max() + 2
    assert (page[bottom:, left + 2 : right - 1] == 255).all()


def test_margin_stays_white(tmp_path: Path) -> None:
    page = drawn(tmp_path, plain(11), title="a title far too long for any page " * 20)
    edges = [page[:20], page[-20:], page[:, :20], page[:, -20:]]
    assert all((edge == 255).all() for edge in edges)


@pytest.mark.parametrize("width", range(30, 113))
def test_long_text_ends_in_dots(width: int) -> None:
    text = _shortened("angular leaf spot and more", FONT, width)
    assert text.endswith("…")
    assert not text.endswith(" …")
    assert 0.5 * width < FONT.getlength(text) <= width


def test_short_text_stays() -> None:
    assert _shortened("bean_rust", FONT, 112) == "bean_rust"


def test_text_just_fits() -> None:
    width = int(FONT.getlength("bean_rust")) + 1
    assert _shortened("bean_rust", FONT, width) == "bean_rust"
    assert _shortened("bean_rust", FONT, width - 2) != "bean_rust"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café", "cafe"),
        ("Höhle – Ñandú", "Hohle - Nandu"),
        ("two\nlines\tand  more ", "two lines and more"),
        ("file\udce9name", "file name"),
        ("\x00\u200b", ""),
    ],
)
def test_plain_text(text: str, shown: str) -> None:
    assert _plain(text) == shown


@pytest.mark.parametrize("text", ["日本", "😀👩‍🔬", "علم", "\udcff", "\u0301", "", "\n", "𝒳", "\uffff"])
def test_any_character_is_drawn(text: str, tmp_path: Path) -> None:
    assert drawn(tmp_path, plain(1), [text], text).shape[2] == 3


def test_no_pictures_leave_title(tmp_path: Path) -> None:
    page = drawn(tmp_path, plain(1)[:0])
    assert (page != 255).any()


def test_mapped_images_are_read(tmp_path: Path) -> None:
    images = plain(3)
    np.save(tmp_path / "images.npy", images)
    page = drawn(tmp_path, np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert np.array_equal(page, drawn(tmp_path, images))


def test_missing_caption_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 images need as many captions, got 2"):
        sheet(plain(3), ["rock", "paper"], tmp_path / "sheet.png", "hands")
    assert not list(tmp_path.iterdir())


def test_missing_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 images need as many captions, got 1"):
        sheet(plain(2), ["rock", "paper"], tmp_path / "sheet.png", "hands", (["Keras"] * 2, ["now"]))


def test_needs_no_matplotlib(tmp_path: Path) -> None:
    """The sheet is drawn where only numpy and Pillow are installed."""
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['tensorflow'] = None\n"
        "import numpy, pathlib; from tledge.visualization.contact_sheet import sheet\n"
        f"sheet(numpy.zeros((1, 8, 8, 3), 'uint8'), ['x'], pathlib.Path({str(tmp_path / 's.png')!r}), 't')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "s.png").is_file()
