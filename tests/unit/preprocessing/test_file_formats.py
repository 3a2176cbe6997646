"""Formats of image files: PPM, PGM and JPEG 2000 are decoded, and what costs too much is refused."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tledge.errors import DataError
from tledge.preprocessing import decoding_memory, file_formats
from tledge.preprocessing.file_formats import count_tiles, is_image, kind_of
from tledge.preprocessing.image import preprocess, preprocess_with_facts

RAMP = np.arange(24 * 20 * 3, dtype=np.uint8).reshape(24, 20, 3)


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(RAMP).convert(mode).save(out, kind, **options)
    return out.getvalue()


def text(magic: str, values: np.ndarray[Any, Any], most: int) -> bytes:
    """A PGM or PPM file of text."""
    return f"{magic}\n# a comment\n20 24\n{most}\n{' '.join(map(str, values.ravel().tolist()))}\n".encode()


GREY = RAMP[..., 0]
EXACT = {
    "ppm": (encoded("PPM"), RAMP),
    "pgm": (encoded("PPM", "L"), np.asarray(Image.fromarray(RAMP).convert("L"))[..., None].repeat(3, 2)),
    "pbm": (encoded("PPM", "1"), np.asarray(Image.fromarray(RAMP).convert("1").convert("RGB"))),
    "text": (text("P3", RAMP, 255), RAMP),
    "text of 16 bits": (text("P2", GREY.astype(int) * 257, 65535), GREY[..., None].repeat(3, 2)),
    "grey of 16 bits": (
        b"P5 20 24 65535\n" + (GREY.astype(">u2") * 257).tobytes(), GREY[..., None].repeat(3, 2)
    ),
    "colours of 16 bits": (b"P6 20 24 65535\n" + (RAMP.astype(">u2") * 257).tobytes(), RAMP),
    "jp2": (encoded("JPEG2000"), RAMP),
    "codestream": (encoded("JPEG2000", no_jp2=True), RAMP),
    "tiles": (encoded("JPEG2000", tile_size=(8, 8)), RAMP),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats_are_exact(name: str) -> None:
    data, pixels = EXACT[name]
    assert is_image(data)
    assert np.array_equal(preprocess(data, (24, 20)), pixels)


def test_jpeg_2000_with_alpha_is_laid_on_white() -> None:
    image = Image.fromarray(RAMP)
    image.putalpha(0)
    out = BytesIO()
    image.save(out, "JPEG2000")
    assert (preprocess(out.getvalue(), (24, 20)) == 255).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, {}) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")),
     ("TIFF", {"big_tiff": True})],
)  # fmt: skip
def test_images_are_recognized(kind: str, options: dict[str, Any]) -> None:
    data = encoded(kind, **options)
    assert is_image(data[: file_formats.HEAD])
    assert preprocess_with_facts(data, (8, 8))[1].format == kind


@pytest.mark.parametrize(
    "data",
    [b"", b"P6", b"P60 is a page", b"PK\3\4", b"BMW cars", b"label,photo\n", b"%PDF-1.7", bytes(600)],
)  # fmt: skip
def test_other_files_are_no_images(data: bytes) -> None:
    assert not is_image(data)
    with pytest.raises(DataError):
        preprocess(data, (8, 8))


def siz(width: int, height: int, tile: int) -> bytes:
    """The beginning of a JPEG 2000 codestream."""
    sides = struct.pack(">8I", width, height, 0, 0, tile, tile, 0, 0)
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", 41, 0) + sides + struct.pack(">HBBB", 1, 7, 1, 1)


@pytest.mark.parametrize(
    ("data", "tiles"),
    [
        (encoded("JPEG2000", tile_size=(8, 8)), 9),
        (encoded("JPEG2000", no_jp2=True, tile_size=(20, 5)), 5),
        (siz(1000, 1000, 1), 1_000_000),
        (siz(10, 10, 0), 0),
        (siz(10, 10, 3)[:20], 0),
        (encoded("PNG"), 0),
    ],
)
def test_tiles_are_counted(data: bytes, tiles: int) -> None:
    assert count_tiles(data) == tiles


def test_endless_tiles_are_refused() -> None:
    """Such a file of 100 bytes would take gigabytes."""
    with pytest.raises(DataError, match="a JPEG 2000 of more than 10000 tiles"):
        preprocess(siz(60_000, 1000, 1), (8, 8))


def test_size_beside_the_codestream_is_no_way_in() -> None:
    """The box of the header says 20x24, the codestream 60,000 pixels a side."""
    data = bytearray(encoded("JPEG2000"))
    struct.pack_into(">II", data, data.index(b"\xff\x4f\xff\x51") + 8, 60_000, 60_000)
    with pytest.raises(DataError):
        preprocess(bytes(data), (8, 8))


@pytest.mark.parametrize(
    "head", [b"P3 3000 3000 255\n1 2 3", b"P6 3000 3000 200\nabc", b"P2 3000 3000 255\n1", b"P1 3000 3000\n1"]
)
def test_slow_decoders_are_bounded(head: bytes) -> None:
    with pytest.raises(DataError, match=r"too slow to decode.*Save it as PNG"):
        preprocess(head, (8, 8))


def test_memory_is_counted_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    run = decoding_memory.run

    def noted(work: Any, pixels: int, kind: str = "", **options: Any) -> Any:
        kinds.append(kind)
        return run(work, pixels, kind, **options)

    monkeypatch.setattr(decoding_memory, "run", noted)
    for data in (encoded("PPM"), text("P3", RAMP, 255), encoded("JPEG2000")):
        preprocess(data, (8, 8))
    assert kinds == ["PPM", "PPM in Python", "JPEG2000"]
    assert decoding_memory.BYTES_PER_PIXEL["JPEG2000"] >= 25  # RGBA takes 24.5
    assert decoding_memory.BYTES_PER_PIXEL["PPM in Python"] >= 38  # text of colours takes 37.3


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["ppm", "pgm", "text", "jp2", "codestream"])
def test_cut_files_are_refused(name: str, cut: float) -> None:
    data = EXACT[name][0]
    with pytest.raises(DataError):
        preprocess(data[: int(len(data) * cut)], (8, 8))


def test_kind_of_an_unknown_file() -> None:
    assert kind_of(b"\x01\x02\x03\x04") == ""
    assert Path("x.JP2").suffix.lower() in file_formats.SUFFIXES
