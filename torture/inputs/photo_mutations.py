"""Mutated photos: the same number gives the same file, so that a child makes it and anyone can again."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

from PIL import features

from torture.inputs import odd_photos
from torture.inputs.odd_photos import picture, saved

Change = Callable[[random.Random, str, bytes], bytes]

EXTREMES = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
            0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
"""What lengths, counts and sides become."""


@cache
def seeds() -> dict[str, list[bytes]]:
    """Whole photos by format, each with another part of it in use."""
    exif = odd_photos.exif(odd_photos.entry(0x112, 3, 1, 6))
    noise = bytes(range(256))
    made = {
        "JPEG": [
            saved(picture(), "JPEG"), saved(picture(), "JPEG", progressive=True), exif,
            saved(picture("L"), "JPEG"), saved(picture("CMYK"), "JPEG"),
            saved(picture(), "JPEG", restart_marker_blocks=1, subsampling=0, icc_profile=noise),
            saved(picture(), "MPO", save_all=True, append_images=[picture("L")]),
        ],
        "PNG": [
            saved(picture(), "PNG"), saved(picture("P"), "PNG", transparency=noise), odd_photos.deep(6, 4),
            saved(picture("1"), "PNG"), saved(picture("RGBA"), "PNG", icc_profile=noise),
            odd_photos.animated("PNG"), odd_photos.with_chunk(b"zTXt", b"k\0\0" + zlib.compress(noise)),
        ],
        "WEBP": [
            saved(picture(), "WEBP"), saved(picture(), "WEBP", lossless=True),
            saved(picture("RGBA"), "WEBP", icc_profile=noise), odd_photos.animated("WEBP"),
        ],
        "GIF": [saved(picture(), "GIF"), saved(picture(), "GIF", interlace=1), odd_photos.animated("GIF")],
        "BMP": [saved(picture(mode), "BMP") for mode in ("RGB", "P", "1", "RGBA")],
        "TIFF": [
            *(saved(picture(), "TIFF", compression=way) for way in ("raw", "tiff_lzw", "tiff_adobe_deflate",
                                                                    "packbits", "jpeg")),
            saved(picture("1"), "TIFF", compression="group4"), saved(picture("P"), "TIFF"),
            saved(picture(), "TIFF", save_all=True, append_images=[picture("L")]),
        ],
    }  # fmt: skip
    if features.check("avif"):
        made["AVIF"] = [saved(picture(), "AVIF"), saved(picture("RGBA"), "AVIF"), odd_photos.animated("AVIF")]
    return made


def mutated(number: int, seed: int = 0) -> tuple[str, bytes]:
    """What was done to which format, and the file: one to three changes."""
    chance = random.Random(f"{seed} photo {number}")
    kinds = list(seeds())
    kind = kinds[number % len(kinds)]
    data, done = chance.choice(seeds()[kind]), []
    for _time in range(chance.choice((1, 1, 2, 3))):
        change = chance.choice((*ANYWHERE, *ABOUT[kind] * 2))
        done.append(change.__name__)
        data = change(chance, kind, data)
    return f"{kind}: {', '.join(done)}", data


def flipped_bits(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """Up to eight bits changed, half the time near the beginning."""
    made = bytearray(data)
    reach = len(made) if chance.random() < 0.5 else min(len(made), 200)
    for _time in range(chance.randint(1, 8) if made else 0):
        made[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(made)


def cut_off(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """The end missing."""
    return data[: chance.randrange(len(data) + 1)]


def removed(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """A span missing."""
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.choice((1, 2, 4, 16, 100)) :]


def repeated(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """A span twice or a hundred times."""
    start = chance.randrange(len(data) + 1)
    end = start + chance.choice((1, 4, 16, 200))
    return data[:end] + data[start:end] * chance.choice((1, 100)) + data[end:]


def noise_inside(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """Random bytes in the middle."""
    start = chance.randrange(len(data) + 1)
    return data[:start] + chance.randbytes(chance.choice((1, 4, 64))) + data[start + chance.choice((0, 4)) :]


def spliced(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """The beginning of this one and the end of another format's."""
    other = chance.choice(seeds()[chance.choice(list(seeds()))])
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


def extreme_anywhere(chance: random.Random, _kind: str, data: bytes) -> bytes:
    """A number at its limit, wherever."""
    return _put(chance, data, chance.randrange(len(data) + 1), chance.choice((1, 2, 4)))


def _put(chance: random.Random, data: bytes, place: int, width: int) -> bytes:
    value = chance.choice(EXTREMES) & ((1 << 8 * width) - 1)
    number = value.to_bytes(width, chance.choice(("big", "little")))
    return data[:place] + number + data[place + width :]


def extreme_field(chance: random.Random, kind: str, data: bytes) -> bytes:
    """A length, count or side of the format's own at its limit."""
    places = list(fields(kind, data))
    return _put(chance, data, *chance.choice(places)) if places else data


def other_pieces(chance: random.Random, kind: str, data: bytes) -> bytes:
    """Chunks, segments or boxes exchanged, missing, doubled, or changed inside with a true checksum."""
    parts = pieces(kind, data)
    one, two = chance.randrange(len(parts)), chance.randrange(len(parts))
    what = chance.randrange(4)
    if what == 0:
        parts[one], parts[two] = parts[two], parts[one]
    elif what == 1:
        del parts[one]
    elif what == 2:
        parts.insert(two, parts[one])
    else:
        parts[one] = _mended(kind, _changed_inside(chance, parts[one]))
    return b"".join(parts)


def _changed_inside(chance: random.Random, piece: bytes) -> bytes:
    """A few bytes behind its name and length."""
    made = bytearray(piece)
    for _time in range(chance.randint(1, 4) if len(made) > 8 else 0):
        made[chance.randrange(4, len(made))] = chance.choice((*(value & 0xFF for value in EXTREMES), 0x41))
    return bytes(made)


def _mended(kind: str, piece: bytes) -> bytes:
    """A PNG's chunk with its checksum made true, so that more than the checksum is tried."""
    if kind != "PNG" or len(piece) < 12:
        return piece
    return piece[:-4] + struct.pack(">I", zlib.crc32(piece[4:-4]))


def pieces(kind: str, data: bytes) -> list[bytes]:
    """A file cut where its format begins something new; joined they are the file."""
    if kind == "PNG":
        return _chunks(data, 8, lambda at: int.from_bytes(data[at : at + 4], "big") + 12)
    if kind == "WEBP":
        return _chunks(data, 12, lambda at: (int.from_bytes(data[at + 4 : at + 8], "little") + 9) // 2 * 2)
    if kind == "AVIF":
        return _chunks(data, 0, lambda at: int.from_bytes(data[at : at + 4], "big"))
    marks = [one.start() for one in re.finditer(STARTS[kind], data, re.DOTALL)]
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


STARTS = {
    "JPEG": rb"\xff[\xc0-\xcf\xd8-\xef]",
    "GIF": rb"!\xf9|!\xff|,\0\0",
    "TIFF": rb"(?<=\0)[\x00\x01]\x01[\x03\x04]\0",
    "BMP": rb"(?<=^.{14}).",
}
"""Where the formats without chunks begin something new, as far as a pattern can tell."""


def _chunks(data: bytes, start: int, size: Callable[[int], int]) -> list[bytes]:
    found, at = [data[:start]], start
    while at < len(data):
        end = at + max(size(at), 4)
        found.append(data[at:end])
        at = end
    return found


def fields(kind: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Place and width of lengths, counts and sides."""
    if kind == "GIF":
        yield from ((6, 2), (8, 2), (10, 1))
    if kind == "BMP":
        yield from ((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4))
    for one in re.finditer(FIELDS.get(kind, rb"(?!)"), data, re.DOTALL):
        yield from ((one.start() + shift, width) for shift, width in SHIFTS[kind])


FIELDS = {
    "JPEG": rb"\xff[\xc0-\xcf\xda-\xef]",
    "PNG": rb"IHDR|IDAT|fdAT|acTL|fcTL|PLTE|tRNS|iCCP|zTXt|eXIf",
    "WEBP": rb"RIFF|VP8 |VP8L|VP8X|ALPH|ANIM|ANMF|ICCP",
    "GIF": rb",\0\0",
    "TIFF": rb"[\x00-\x60]\x01[\x01-\x05]\0",
    "AVIF": rb"ftyp|meta|iloc|iinf|iprp|ipco|ispe|av1C|mdat|moov|stsz|stco|mvhd|pixi|ipma",
}
SHIFTS = {
    "JPEG": ((2, 2), (4, 1), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1)),
    "PNG": ((-4, 4), (4, 4), (8, 4), (12, 1), (13, 1), (16, 1)),
    "WEBP": ((4, 4), (8, 1), (12, 3), (15, 3), (14, 2), (16, 2)),
    "GIF": ((1, 2), (3, 2), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1)),
    "TIFF": ((0, 2), (2, 2), (4, 4), (8, 4)),
    "AVIF": ((-4, 4), (4, 4), (8, 4), (12, 4), (16, 2)),
}
"""Where the numbers stand, from what `FIELDS` finds."""

ANYWHERE: tuple[Change, ...] = (
    flipped_bits, cut_off, removed, repeated, noise_inside, spliced, extreme_anywhere,
)  # fmt: skip
ABOUT: dict[str, tuple[Change, ...]] = {
    **dict.fromkeys(("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"), (extreme_field, other_pieces)),
    "BMP": (extreme_field,),
}
