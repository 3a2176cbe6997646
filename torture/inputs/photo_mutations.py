"""Mutated photos: the same number always gives the same file."""

from __future__ import annotations

import importlib.util
import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

from PIL import features

from torture.inputs import odd_photos
from torture.inputs.odd_photos import encode, sample_image

Change = Callable[[random.Random, str, bytes], bytes]

EXTREMES = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
            0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
"""What lengths, counts and sides become."""


@cache
def seeds() -> dict[str, list[bytes]]:
    """Encode whole photos by format, each with another part of it in use."""
    exif = odd_photos.exif(odd_photos.entry(0x112, 3, 1, 6))
    noise = bytes(range(256))
    photos = {
        "JPEG": [
            encode(sample_image(), "JPEG"), encode(sample_image(), "JPEG", progressive=True), exif,
            encode(sample_image("L"), "JPEG"), encode(sample_image("CMYK"), "JPEG"),
            encode(sample_image(), "JPEG", restart_marker_blocks=1, subsampling=0, icc_profile=noise),
            encode(sample_image(), "MPO", save_all=True, append_images=[sample_image("L")]),
        ],
        "PNG": [
            encode(sample_image(), "PNG"), encode(sample_image("P"), "PNG", transparency=noise),
            odd_photos.sixteen_bit_png(6, 4),
            encode(sample_image("1"), "PNG"), encode(sample_image("RGBA"), "PNG", icc_profile=noise),
            odd_photos.animated("PNG"), odd_photos.with_chunk(b"zTXt", b"k\0\0" + zlib.compress(noise)),
        ],
        "WEBP": [
            encode(sample_image(), "WEBP"), encode(sample_image(), "WEBP", lossless=True),
            encode(sample_image("RGBA"), "WEBP", icc_profile=noise), odd_photos.animated("WEBP"),
        ],
        "GIF": [encode(sample_image(), "GIF"), encode(sample_image(), "GIF", interlace=1),
                odd_photos.animated("GIF")],
        "BMP": [encode(sample_image(mode), "BMP") for mode in ("RGB", "P", "1", "RGBA")],
        "TIFF": [
            *(encode(sample_image(), "TIFF", compression=way)
              for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
            encode(sample_image("1"), "TIFF", compression="group4"), encode(sample_image("P"), "TIFF"),
            encode(sample_image(), "TIFF", save_all=True, append_images=[sample_image("L")]),
        ],
        "PPM": [*(encode(sample_image(mode), "PPM") for mode in ("RGB", "L", "1")), _ppm_as_text()],
        "JPEG2000": [
            encode(sample_image(), "JPEG2000"), encode(sample_image("L"), "JPEG2000", no_jp2=True),
            encode(sample_image("RGBA"), "JPEG2000", irreversible=True),
            encode(sample_image(), "JPEG2000", tile_size=(8, 8)),
        ],
    }  # fmt: skip
    if features.check("avif"):
        photos["AVIF"] = [
            encode(sample_image(), "AVIF"),
            encode(sample_image("RGBA"), "AVIF"),
            odd_photos.animated("AVIF"),
        ]
    if "HEIF" in formats():
        photos["HEIF"] = _heif_photos()
    return photos


def _ppm_as_text() -> bytes:
    """Write a PPM whose numbers are text: another decoder reads it."""
    image = sample_image()
    numbers = " ".join(map(str, image.tobytes()))
    return f"P3\n{image.width} {image.height}\n255\n{numbers}\n".encode()


def formats() -> tuple[str, ...]:
    """List the formats that are mutated: what this Pillow writes, and HEIF where its library is there."""
    return (*odd_photos.formats(), *["HEIF"] * (importlib.util.find_spec("pillow_heif") is not None))


def _heif_photos() -> list[bytes]:
    """Encode HEIC photos, as phones make them: one, one with transparency, two in a file with metadata."""
    import pillow_heif

    files = []
    for images, options in (
        (["RGB"], {}),
        (["RGBA"], {"quality": -1}),
        (["RGB", "L"], {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0", "chroma": 444}),
    ):
        file = pillow_heif.HeifFile()
        for mode in images:
            file.add_from_pillow(sample_image(mode))
        target = io.BytesIO()
        file.save(target, **options)
        files.append(target.getvalue())
    return files


def mutate(number: int, seed: int = 0) -> tuple[str, bytes]:
    """Change a photo one to three times; return what was done to which format, and the file."""
    rng = random.Random(f"{seed} photo {number}")
    kinds = list(seeds())
    kind = kinds[number % len(kinds)]
    data, change_names = rng.choice(seeds()[kind]), []
    for _time in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice((*ANYWHERE, *ABOUT[kind] * 2))
        change_names.append(change.__name__)
        data = change(rng, kind, data)
    return f"{kind}: {', '.join(change_names)}", data


def flipped_bits(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Flip up to eight bits, half the time near the beginning."""
    flipped = bytearray(data)
    reach = len(flipped) if rng.random() < 0.5 else min(len(flipped), 200)
    for _time in range(rng.randint(1, 8) if flipped else 0):
        flipped[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def cut_off(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Cut off the end."""
    return data[: rng.randrange(len(data) + 1)]


def removed(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Remove a span."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 4, 16, 100)) :]


def repeated(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Repeat a span, once or a hundred times."""
    start = rng.randrange(len(data) + 1)
    end = start + rng.choice((1, 4, 16, 200))
    return data[:end] + data[start:end] * rng.choice((1, 100)) + data[end:]


def noise_inside(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Insert random bytes in the middle."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 64))) + data[start + rng.choice((0, 4)) :]


def spliced(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Join the beginning of this file and the end of one of another format."""
    other = rng.choice(seeds()[rng.choice(list(seeds()))])
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def extreme_anywhere(rng: random.Random, _kind: str, data: bytes) -> bytes:
    """Write a number at its limit, anywhere."""
    return _overwrite(rng, data, rng.randrange(len(data) + 1), rng.choice((1, 2, 4)))


def _overwrite(rng: random.Random, data: bytes, position: int, width: int) -> bytes:
    value = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
    number = value.to_bytes(width, rng.choice(("big", "little")))
    return data[:position] + number + data[position + width :]


def extreme_field(rng: random.Random, kind: str, data: bytes) -> bytes:
    """Set a length, count or side of the format's own to its limit."""
    positions = list(fields(kind, data))
    return _overwrite(rng, data, *rng.choice(positions)) if positions else data


def other_pieces(rng: random.Random, kind: str, data: bytes) -> bytes:
    """Swap, remove, double or change chunks, segments or boxes, with a true checksum."""
    parts = pieces(kind, data)
    first, two = rng.randrange(len(parts)), rng.randrange(len(parts))
    change = rng.randrange(4)
    if change == 0:
        parts[first], parts[two] = parts[two], parts[first]
    elif change == 1:
        del parts[first]
    elif change == 2:
        parts.insert(two, parts[first])
    else:
        parts[first] = _with_true_checksum(kind, _changed_inside(rng, parts[first]))
    return b"".join(parts)


def _changed_inside(rng: random.Random, piece: bytes) -> bytes:
    """Change a few bytes behind its name and length."""
    changed = bytearray(piece)
    for _time in range(rng.randint(1, 4) if len(changed) > 8 else 0):
        changed[rng.randrange(4, len(changed))] = rng.choice((*(value & 0xFF for value in EXTREMES), 0x41))
    return bytes(changed)


def _with_true_checksum(kind: str, piece: bytes) -> bytes:
    """Compute a PNG chunk's checksum anew, so that more than the checksum is tried."""
    if kind != "PNG" or len(piece) < 12:
        return piece
    return piece[:-4] + struct.pack(">I", zlib.crc32(piece[4:-4]))


def pieces(kind: str, data: bytes) -> list[bytes]:
    """Split a file where its format begins something new; joined they are the file."""
    if kind == "PNG":
        return _chunks(data, 8, lambda at: int.from_bytes(data[at : at + 4], "big") + 12)
    if kind == "WEBP":
        return _chunks(data, 12, lambda at: (int.from_bytes(data[at + 4 : at + 8], "little") + 9) // 2 * 2)
    if kind in ("AVIF", "HEIF"):
        return _chunks(data, 0, lambda at: int.from_bytes(data[at : at + 4], "big"))
    marks = [match.start() for match in re.finditer(STARTS[kind], data, re.DOTALL)]
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


STARTS = {
    "JPEG": rb"\xff[\xc0-\xcf\xd8-\xef]",
    "GIF": rb"!\xf9|!\xff|,\0\0",
    "TIFF": rb"(?<=\0)[\x00\x01]\x01[\x03\x04]\0",
    "BMP": rb"(?<=^.{14}).",
    "PPM": rb"\s",
    "JPEG2000": rb"\xff[\x4f-\x64\x90-\xd9]|....(?=jP  |ftyp|jp2h|jp2c|ihdr|colr)",
}
"""Where the formats without chunks begin something new, as far as a pattern can tell."""


def _chunks(data: bytes, start: int, size: Callable[[int], int]) -> list[bytes]:
    parts, at = [data[:start]], start
    while at < len(data):
        end = at + max(size(at), 4)
        parts.append(data[at:end])
        at = end
    return parts


def fields(kind: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield place and width of lengths, counts and sides."""
    if kind == "GIF":
        yield from ((6, 2), (8, 2), (10, 1))
    if kind == "BMP":
        yield from ((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4))
    for match in re.finditer(FIELDS.get(kind, rb"(?!)"), data, re.DOTALL):
        yield from ((match.start() + shift, width) for shift, width in SHIFTS[kind])


FIELDS = {
    "JPEG": rb"\xff[\xc0-\xcf\xda-\xef]",
    "PNG": rb"IHDR|IDAT|fdAT|acTL|fcTL|PLTE|tRNS|iCCP|zTXt|eXIf",
    "WEBP": rb"RIFF|VP8 |VP8L|VP8X|ALPH|ANIM|ANMF|ICCP",
    "GIF": rb",\0\0",
    "TIFF": rb"[\x00-\x60]\x01[\x01-\x05]\0",
    "PPM": rb"\d\s",
    "JPEG2000": rb"\xff[\x4f-\x64\x90-\xd9]|jP  |ftyp|jp2h|jp2c|ihdr|colr",
    "AVIF": rb"ftyp|meta|iloc|iinf|iprp|ipco|ispe|av1C|mdat|moov|stsz|stco|mvhd|pixi|ipma",
    "HEIF": rb"ftyp|meta|iloc|iinf|infe|iref|iprp|ipco|ispe|hvcC|auxC|pitm|mdat|pixi|ipma|colr|irot",
}
SHIFTS = {
    "JPEG": ((2, 2), (4, 1), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1)),
    "PNG": ((-4, 4), (4, 4), (8, 4), (12, 1), (13, 1), (16, 1)),
    "WEBP": ((4, 4), (8, 1), (12, 3), (15, 3), (14, 2), (16, 2)),
    "GIF": ((1, 2), (3, 2), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1)),
    "TIFF": ((0, 2), (2, 2), (4, 4), (8, 4)),
    "PPM": ((0, 1), (1, 1)),
    "JPEG2000": ((-4, 4), (2, 2), (4, 2), (6, 4), (10, 4), (22, 4), (38, 2)),
    "AVIF": ((-4, 4), (4, 4), (8, 4), (12, 4), (16, 2)),
    "HEIF": ((-4, 4), (4, 4), (8, 4), (12, 4), (16, 2)),
}
"""Where the numbers stand, from what `FIELDS` finds."""

ANYWHERE: tuple[Change, ...] = (
    flipped_bits, cut_off, removed, repeated, noise_inside, spliced, extreme_anywhere,
)  # fmt: skip
ABOUT: dict[str, tuple[Change, ...]] = {
    **dict.fromkeys(FIELDS, (extreme_field, other_pieces)),
    "BMP": (extreme_field,),
}
