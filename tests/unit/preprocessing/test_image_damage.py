"""Damaged photos: each is refused by name with a reason a person understands, and nothing escapes."""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.helpers import damaged
from tledge._io import file_guard
from tledge._process.byte_budget import ByteBudget
from tledge.errors import DataError
from tledge.preprocessing import decoding_memory, file_formats
from tledge.preprocessing import image as preprocessing_image
from tledge.preprocessing.image import preprocess, preprocess_with_facts


def refusal(data: bytes) -> str:
    """Why a photo is refused; anything but DataError is raised, warnings too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as refused:
            preprocess(data, (8, 8))
    return str(refused.value)


@pytest.mark.parametrize("name", damaged.files())
def test_damaged_photo_is_explained(name: str, tmp_path: Path) -> None:
    word, data = damaged.files()[name]
    start = time.monotonic()
    assert word in refusal(data)
    assert time.monotonic() - start < 2
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=word) as refused:
        preprocess(tmp_path / name, (8, 8))
    assert str(refused.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("name", damaged.files())
def test_reason_is_one_clean_line(name: str) -> None:
    reason = refusal(damaged.files()[name][1])
    assert reason.isprintable() and reason.endswith(".") and len(reason) < 160
    with pytest.raises(DataError) as refused:
        preprocess_with_facts(damaged.files()[name][1], (8, 8))
    assert str(refused.value) == reason


def test_whole_twins_decode() -> None:
    """What the damaged files are made of is refused for its damage alone."""
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF"):
        assert preprocess(damaged.encoded(kind), (8, 8)).shape == (8, 8, 3)
    whole = damaged.png(2, 3, (b"\0" + b"\x01\x02\x03" * 3) * 2)
    assert np.array_equal(preprocess(whole, (2, 3)), np.full((2, 3, 3), [1, 2, 3]))
    grey = damaged.tiff(200) + bytes(200) + b"\x80" * 10_000
    assert (preprocess(grey, (100, 100))[50:90] == 128).all()
    dark = damaged.bmp(4, 4) + bytes(48)
    assert not preprocess(dark, (4, 4)).any()


def test_wrong_ending_simply_decodes(tmp_path: Path) -> None:
    damaged.build(tmp_path)
    found = preprocess(tmp_path / damaged.FINE[0], (16, 16))
    assert np.array_equal(found, preprocess(damaged.encoded("PNG"), (16, 16)))


@pytest.mark.parametrize("name", ["bomb.png", "bomb.bmp"])
def test_bomb_is_never_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_image: ImageFile.ImageFile) -> None:
        pytest.fail("loaded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert "too large" in refusal(damaged.files()[name][1])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "too large for this machine's memory. Make a smaller copy."),
        (ValueError("two\nlines\n"), "damaged (two lines)."),
        (ValueError("\x1b[31mred\0"), "damaged ([31mred)."),
        (ValueError("x" * 5000), f"damaged ({'x' * 100})."),
        (AssertionError(), "damaged (AssertionError)."),
    ],
)
def test_decoder_error_is_explained(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_image: ImageFile.ImageFile) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert refusal(damaged.encoded("JPEG")).endswith(f" bytes: {reason}")


def test_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jpg: is a folder; expected a regular file"):
        (tmp_path / "x.jpg").mkdir()
        preprocess(tmp_path / "x.jpg", (8, 8))


def test_unreadable_photo_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.jpg").touch()
    monkeypatch.setattr(file_guard, "_open", locked)
    with pytest.raises(DataError, match=r"mine\.jpg: cannot be read \(Permission denied\)"):
        preprocess(tmp_path / "mine.jpg", (8, 8))


@pytest.mark.skipif(sys.platform != "linux", reason="such files are not everywhere")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe that nobody writes into, a device, and a file that fills no disk."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(1 << 40)
    for path in (tmp_path / "pipe.jpg", tmp_path / "link.jpg", Path("/dev/zero")):
        with pytest.raises(
            DataError, match=f"{path}: is a (pipe|device); expected a regular file, or a link to one"
        ):
            preprocess(path, (8, 8))
    with pytest.raises(DataError, match=r"large\.jpg: too large, 1048576 MiB; at most 512 are read"):
        preprocess(tmp_path / "large.jpg", (8, 8))


def test_endless_scans_are_refused() -> None:
    """Each takes time by the size of the picture; what lies behind a picture takes none."""
    whole = damaged.encoded("JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert "more than 100 scans" in refusal(whole[:-2] + last * 100 + whole[-2:])
    assert np.array_equal(preprocess(whole + last * 500, (8, 8)), preprocess(whole, (8, 8)))
    inside = whole[:2] + b"\xff\xe5\x07\xd2" + b"\xff\xda" * 1000 + whole[2:]
    assert np.array_equal(preprocess(inside, (8, 8)), preprocess(whole, (8, 8)))


@pytest.mark.parametrize("big", [False, True])
def test_endless_tiles_are_refused(big: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    strips = damaged.encoded("TIFF", big_tiff=big)
    assert preprocess(strips, (8, 8)).shape == (8, 8, 3)
    monkeypatch.setattr(preprocessing_image, "MAX_PIECES", 0)
    assert "more than 0 strips or tiles" in refusal(strips)


def test_photos_that_fill_the_memory_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory does not grow with the number of threads."""
    inside, most, loaded = 0, [0], preprocessing_image._load

    def counted(*arguments: Any) -> Any:
        nonlocal inside
        inside += 1
        most.append(inside)
        time.sleep(0.01)
        made = loaded(*arguments)
        inside -= 1
        return made

    monkeypatch.setattr(preprocessing_image, "_load", counted)
    data = damaged.encoded("JPEG")
    pixels = 120 * 160
    for total, expected in ((100, 1), (3 * pixels * decoding_memory.USUAL, 3), (1 << 30, 8)):
        budget = ByteBudget(total)
        monkeypatch.setattr(decoding_memory, "_budget", lambda budget=budget: budget)
        most.clear()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _n: preprocess(data, (8, 8)), range(24)))
        assert max(most) <= expected and (expected == 1) == (max(most) == 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_bands_are_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(BytesIO(damaged.encoded("PNG", 50, 40))).convert("RGB")
    image.putalpha(Image.linear_gradient("L").resize((40, 50)))
    if mode == "P":
        image = image.convert("RGB").convert("P")
        image.info["transparency"] = bytes(range(256))
    elif mode == "LA":
        image = image.convert("LA")
    white = Image.new("RGBA", image.size, "white")
    whole = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    for band in (7, 50, 256):
        monkeypatch.setattr(preprocessing_image, "BAND", band)
        assert np.array_equal(np.asarray(preprocessing_image.to_rgb(image)), whole)


def test_dangling_link_is_missing(tmp_path: Path) -> None:
    damaged.build(tmp_path)
    with pytest.raises(FileNotFoundError):
        preprocess(tmp_path / damaged.DANGLING, (8, 8))


def test_permissive_pillow_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a photo decodes where Pillow is told so; here that must stay off."""
    half = damaged.files()["cut at 3 of 4.jpg"][1]
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert "truncated" in refusal(half)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert preprocess(half, (8, 8)).shape == (8, 8, 3)


def outcome(data: bytes) -> str:
    """Decoded, or refused; whatever else is raised fails the test."""
    try:
        pixels, facts = preprocess_with_facts(data, (8, 8))
    except DataError as error:
        assert str(error).startswith(f"{len(data)} bytes: ")
        return "refused"
    assert pixels.shape == (8, 8, 3) and facts.bytes == len(data)
    return "decoded"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO"])
def test_changed_bytes_never_crash(kind: str) -> None:
    whole, chance = damaged.encoded(kind, 24, 32), random.Random(kind)
    seen = []
    for number in range(300):
        place = chance.randrange(min(len(whole), 200) if number % 2 else len(whole))
        seen.append(outcome(whole[:place] + chance.randbytes(1 + number % 4) + whole[place + 1 :]))
    assert outcome(whole) == "decoded"
    assert "refused" in seen


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_cut_photo_is_refused(kind: str) -> None:
    whole = damaged.encoded(kind, 24, 32)
    for size in range(0, len(whole) // 2, 7):
        assert outcome(whole[:size]) == "refused"


@pytest.mark.parametrize("data", [b"\xff", b"\0", b"BM", b"II*\0", b"RIFF", b"\0\0\0\x18ftypavif", b" "])
def test_shortest_files_are_refused(data: bytes) -> None:
    assert outcome(data) == "refused"


def test_damaged_heic_is_explained() -> None:
    plugin = pytest.importorskip("pillow_heif")
    plugin.register_heif_opener()
    whole = damaged.encoded("HEIF")
    assert outcome(whole) == "decoded"
    for share in (0.25, 0.5, 0.75):
        assert "truncated" in refusal(whole[: int(len(whole) * share)])
    assert "header" in refusal(whole[:100])
    size = whole.index(b"ispe") + 8
    wrong = refusal(whole[:size] + bytes([0, 0, 9, 9, 0, 0, 9, 9]) + whole[size + 8 :])
    assert "damaged (" in wrong and wrong.isprintable()


def test_every_look_is_tried() -> None:
    """Each line of the table of looks names at least one file here or is a photo's own."""
    reasons = " ".join(refusal(data) for _word, data in damaged.files().values() if data)
    for kind, _pattern in file_formats._SIGNATURES:
        assert kind in (*file_formats.FORMATS, "HEIF") or f"looks like {kind}" in reasons
