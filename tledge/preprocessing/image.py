"""Preprocess images in the one way that training, calibration, verification and devices use.

decode (Pillow; pillow-heif for HEIC) → EXIF orientation → RGB → resize (Pillow's BILINEAR, which
antialiases) → uint8[H, W, 3]. A change here needs a new `PREPROCESSING` and new golden pixels.
"""

from __future__ import annotations

import importlib
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tledge._io import file_guard
from tledge.errors import DataError, MissingError
from tledge.preprocessing import bit_depth, decoding_memory, encoded_parts, file_formats
from tledge.preprocessing.bit_depth import PixelRange
from tledge.preprocessing.file_formats import FORMATS
from tledge.preprocessing.pillow_open import open_image, pillow_warnings_ignored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

T = TypeVar("T")

PREPROCESSING = 1
"""Version of the preprocessing; part of every cache key."""

MAX_PIXELS = 100_000_000
"""Larger photos are refused: decoding one would take more than 300 MB."""

MAX_BYTES = 1 << 29
"""Larger files are refused before they are read."""

MAX_SCANS = 100
"""Scans of a JPEG, at most. A progressive one has about ten, and each takes time by the size of the image."""

MAX_PIECES = 400_000
"""Strips or tiles of a TIFF, at most: 100 megapixels in tiles of 16 x 16. Pillow needs 600 bytes for each."""

BAND = 256
"""Rows that are blended with white at a time, so that a large photo is not copied three times."""

MAX_REASON = 100
"""Characters of a decoder's message that are passed on."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Major brands (ISO/IEC 23008-12) of files that pillow-heif decodes; AVIF may say mif1 or msf1 too."""

ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""

_DAMAGE = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, zlib.error,
           LookupError, TypeError, ArithmeticError, AssertionError)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""


@dataclass(frozen=True)
class ImageFacts:
    """Facts of an encoded photo.

    `format` is Pillow's name (a phone's multi-picture JPEG is JPEG), `mode` Pillow's mode as
    stored, or what `bit_depth.describe` calls pixels deeper than 8 bits, `width` and `height` are
    those of the upright image in pixels, `orientation` is
    EXIF's 1..8 (1 where none), and `bytes` the size of the file.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    bytes: int


def preprocess(
    source: bytes | Path | NDArray[np.uint8], size: tuple[int, int], pixel_range: PixelRange = ()
) -> NDArray[np.uint8]:
    """Turn a photo into the pixels that a model sees: uint8[height, width, 3], RGB 0..255.

    Transparent pixels are blended with white.

    Args:
        source: An encoded photo, the path of one, or decoded pixels uint8[h, w, 3].
        size: (height, width) of the result.
        pixel_range: The values of black and white in pixels deeper than 8 bits; see `bit_depth`.

    Raises:
        DataError: The photo cannot be read, does not decode, is too large, or its pixels are deeper than 8
            bits and their range is not known.
        MissingError: It is a HEIC photo, and pillow-heif is not installed.
        FileNotFoundError: The path does not exist.
    """
    from PIL import Image

    if isinstance(source, bytes):
        return preprocess_with_facts(source, size, pixel_range)[0]
    if isinstance(source, Path):
        data, name = read_photo(source), str(source)
        return _decode_with(data, name, lambda image, _facts: _resize(image, size), pixel_range)[0]
    return decoding_memory.run(lambda: _resize(to_rgb(Image.fromarray(source)), size), source.size // 3)


def pixels_of(image: Image, pixel_range: PixelRange = ()) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of an image of Pillow: those that its file would give.

    Raises DataError where it is damaged, closed, empty or too large, or the range of its pixels is not known.
    """
    import numpy as np

    pixels = image.width * image.height
    if not pixels or pixels > MAX_PIXELS:
        raise DataError(f"PIL image: {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read.")

    def load() -> NDArray[np.uint8]:
        stored = bit_depth.describe(image)
        image.load()  # turns a TIFF upright, which then says so
        is_deep = stored and stored not in bit_depth.COLOUR  # Pillow has dropped half of the bits of these
        reduced = bit_depth.to_8_bits(image, stored, pixel_range, "PIL image") if is_deep else image
        return np.asarray(to_rgb(reduced), dtype=np.uint8)

    try:
        with pillow_warnings_ignored():
            return decoding_memory.run(load, pixels, in_full=True)
    except _DAMAGE as error:
        raise DataError(f"PIL image: damaged or closed{_describe_damage(b'', error)}.") from error


def preprocess_with_facts(
    data: bytes, size: tuple[int, int], pixel_range: PixelRange = ()
) -> tuple[NDArray[np.uint8], ImageFacts]:
    """Return what `preprocess` returns for an encoded photo, and the photo's facts, from one decoding."""
    name = f"{len(data)} bytes"
    return _decode_with(data, name, lambda image, _facts: _resize(image, size), pixel_range)


def decode(data: bytes, pixel_range: PixelRange = ()) -> tuple[NDArray[np.uint8], ImageFacts]:
    """Decode a photo without resizing it: upright RGB uint8[h, w, 3], and its facts.

    Raises what `preprocess` raises. `preprocess` returns the same for these pixels as for the photo.
    Threads that decode many photos use `use_decoded`.
    """
    pixels, facts = use_decoded(data, lambda pixels, _facts: pixels, pixel_range)
    return pixels, facts


def use_decoded(
    data: bytes, use: Callable[[NDArray[np.uint8], ImageFacts], T], pixel_range: PixelRange = ()
) -> tuple[T, ImageFacts]:
    """Decode a photo as `decode` does, and return what `use` returns for pixels and facts, and the facts.

    Meanwhile the memory for the photo stays reserved, so that photos in full take no more of it than there
    is, however many threads call this.
    """
    import numpy as np

    def use_array(image: Image, facts: ImageFacts) -> T:
        return use(np.asarray(image, dtype=np.uint8), facts)

    return _decode_with(data, f"{len(data)} bytes", use_array, pixel_range, in_full=True)


def read_photo(path: Path) -> bytes:
    """Read the bytes of a photo's file.

    Raises FileNotFoundError where there is none, and DataError where it cannot be read, is larger than
    `MAX_BYTES`, or is not a regular file: a pipe or a device may never end.
    """
    try:
        return file_guard.read_bytes(path, follow=True, limit=MAX_BYTES, error=DataError)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def to_rgb(image: Image) -> Image:
    """Convert a decoded image of 8 bits to upright RGB: apply its EXIF orientation, blend with white."""
    upright = apply_orientation(image, _orientation(image))
    if upright.mode in ("RGBA", "LA", "PA", "La") or "transparency" in upright.info:
        return _on_white(upright)
    is_copy = upright is not image and upright.mode == "RGB"
    return upright if is_copy else upright.convert("RGB")


def _on_white(image: Image) -> Image:
    from PIL import Image

    blended = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):
        layer = image.crop((0, top, image.width, min(top + BAND, image.height))).convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        blended.paste(Image.alpha_composite(white, layer).convert("RGB"), (0, top))
    return blended


def apply_orientation(image: Image, orientation: int) -> Image:
    """Turn an image that is stored in EXIF's `orientation` 1..8 upright."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image) -> int:
    """Read EXIF's orientation 1..8; EXIF that cannot be read counts as 1, upright."""
    try:
        return _valid_orientation(image.getexif().get(ORIENTATION))
    except _DAMAGE:
        return 1


def _valid_orientation(orientation: Any) -> int:
    return int(orientation) if orientation in range(1, 9) else 1


def _resize(image: Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    import numpy as np
    from PIL.Image import Resampling

    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _decode_with(
    data: bytes,
    photo_name: str,
    use: Callable[[Image, ImageFacts], T],
    pixel_range: PixelRange = (),
    *,
    in_full: bool = False,
) -> tuple[T, ImageFacts]:
    """Decode a photo to upright RGB, and return what `use` returns for it and its facts, and the facts.

    `photo_name` stands in errors; `in_full` says that `use` makes an array of all pixels.
    """
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    if not data:
        raise DataError(f"{photo_name}: empty, expected a photo.")
    formats = _formats(data, photo_name)
    try:
        # Pillow warns of odd metadata without naming the file; what damages the image raises.
        with pillow_warnings_ignored():
            image = _open(data, formats, photo_name)
        facts = image.width * image.height, file_formats.memory_kind(image)
        opened = [image]
        del image  # so that nobody holds it when others may take its memory

        def reduce(loaded: Image, stored: str) -> Image:
            reopen = partial(_open, data, formats, photo_name)
            return bit_depth.to_8_bits(loaded, stored, pixel_range, photo_name, reopen)

        work = partial(_load_and_use, opened, len(data), use, reduce)
        return decoding_memory.run(work, *facts, in_full=in_full or bool(pixel_range))
    except UnidentifiedImageError as error:
        raise DataError(f"{photo_name}: {file_formats.unidentified(data)}.") from error
    except DecompressionBombError as error:  # some formats are checked against the limit of the program
        pixels = "".join(re.findall(r"\((\d+ pixels)\)", str(error))) or "more pixels than Pillow allows"
        raise DataError(_too_large(photo_name, pixels)) from error
    except MemoryError as error:
        raise DataError(f"{photo_name}: too large for this machine's memory. Make a smaller copy.") from error
    except _DAMAGE as error:
        raise DataError(f"{photo_name}: damaged{_describe_damage(data, error)}.") from error


def _load_and_use(
    opened: list[Image],
    size: int,
    use: Callable[[Image, ImageFacts], T],
    reduce: Callable[[Image, str], Image],
) -> tuple[T, ImageFacts]:
    """Decode the only image in a list, which is empty then; return what `use` returns, and its facts."""
    with pillow_warnings_ignored():
        upright, facts = _load(opened.pop(), size, reduce)
        return use(upright, facts), facts


def _open(data: bytes, formats: Sequence[str], photo_name: str) -> Image:
    """Open an encoded photo without decoding its pixels; raises DataError where decoding takes too much."""
    if encoded_parts.count_tiff_pieces(data) > MAX_PIECES:
        raise DataError(f"{photo_name}: damaged (a TIFF of more than {MAX_PIECES} strips or tiles).")
    if file_formats.count_tiles(data) > file_formats.MAX_TILES:
        raise DataError(f"{photo_name}: damaged (a JPEG 2000 of more than {file_formats.MAX_TILES} tiles).")
    image = open_image(BytesIO(data), formats)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(photo_name, f"{image.width}x{image.height} pixels"))
    if image.format in ("JPEG", "MPO") and encoded_parts.count_jpeg_scans(data, MAX_SCANS) > MAX_SCANS:
        raise DataError(f"{photo_name}: damaged (more than {MAX_SCANS} scans, where ten are usual).")
    slow = image.width * image.height > file_formats.MAX_SLOW_PIXELS
    if slow and file_formats.is_decoded_in_python(image):
        raise DataError(
            f"{photo_name}: too slow to decode, a PPM or PGM of text or unusual depth with more than "
            f"{file_formats.MAX_SLOW_PIXELS} pixels. Save it as PNG."
        )
    return image


def _too_large(photo_name: str, pixels: str) -> str:
    return f"{photo_name}: too large, {pixels}; at most {MAX_PIXELS} are read. Make a smaller copy."


def _load(image: Image, size: int, reduce: Callable[[Image, str], Image]) -> tuple[Image, ImageFacts]:
    """Decode an opened image of a file of `size` bytes; return it upright in RGB, and its facts.

    `reduce` turns pixels deeper than 8 bits, and what `bit_depth.describe` says of them, into 8 bits.
    """
    kind, stored, orientation_before = str(image.format), bit_depth.describe(image), 1
    mode = stored or image.mode
    # Pillow turns a TIFF while it loads it, pillow-heif any photo, and both then forget the tag.
    if kind == "TIFF":
        orientation_before = _orientation(image)
    if kind == "HEIF":
        orientation_before = _valid_orientation(image.info.get("original_orientation"))
    image.load()
    orientation_after = _orientation(image)
    image = reduce(image, stored) if stored else image
    orientation = max(orientation_before, orientation_after)
    is_plain = image.mode == "RGB" and orientation_after == 1 and "transparency" not in image.info
    upright = image if is_plain else to_rgb(image)  # to_rgb would copy most photos for nothing
    kind = "JPEG" if kind == "MPO" else kind
    return upright, ImageFacts(kind, mode, upright.width, upright.height, orientation, size)


def _formats(data: bytes, photo_name: str) -> tuple[str, ...]:
    """Return the formats to try; for a HEIC photo, register pillow-heif, or raise MissingError."""
    from PIL import Image

    brands = data[16 : int.from_bytes(data[:4], "big")]
    if data[4:8] != b"ftyp" or data[8:12] not in HEIC_BRANDS or b"avif" in brands or b"avis" in brands:
        return FORMATS
    try:
        plugin = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise MissingError(
            f"{photo_name}: a HEIC photo; pip install 'tledge[heic]', or export it as JPEG."
        ) from error
    if "HEIF" not in Image.OPEN:
        plugin.register_heif_opener()
    return (*FORMATS, "HEIF")


def _describe_damage(data: bytes, error: Exception) -> str:
    """Turn a decoder's message into the end of a sentence."""
    reason = "".join(letter if letter.isprintable() else " " for letter in str(error))
    reason = " ".join(reason.split())[:MAX_REASON] or type(error).__name__
    riff_cut = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if riff_cut or re.search("file is truncated|truncated (file|data)|end of file", reason, re.IGNORECASE):
        return ", truncated: the file ends before the image does"
    return f" ({reason})"
