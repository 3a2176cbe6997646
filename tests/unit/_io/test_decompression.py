"""What others compressed unpacks to no more than a limit, and takes no more memory than that."""

import io
import tracemalloc
import zipfile
import zlib

import pytest

from tledge._io import decompression


def test_what_fits_is_returned() -> None:
    assert decompression.inflate(zlib.compress(b"abc"), 3) == b"abc"
    assert decompression.inflate(zlib.compress(b""), 0) == b""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zlib.compress(b"abcd"), "unpacks to more than 3 bytes"),
        (zlib.compress(b"abc")[:-5], "it is cut"),
        (b"", "it is cut"),
        (b"abc", "does not unpack"),
    ],
)
def test_everything_else_is_explained(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decompression.inflate(data, 3)


def test_bomb_takes_no_memory() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            decompression.inflate(bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_member_of_a_zip_is_bounded() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(1000))
    with zipfile.ZipFile(stream) as archive:
        assert decompression.read_member(archive, "a", 1000) == bytes(1000)
        with pytest.raises(ValueError, match="unpacks to 1000 bytes, more than 999"):
            decompression.read_member(archive, "a", 999)
        with pytest.raises(KeyError):
            decompression.read_member(archive, "b", 999)
        archive.getinfo("a").file_size = 10  # an entry that lies
        with pytest.raises(zipfile.BadZipFile):
            decompression.read_member(archive, "a", 999)
