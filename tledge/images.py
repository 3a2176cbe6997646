"""The one preparation of an image, used for training, calibration, verification and devices.

decode (Pillow; pillow-heif for HEIC) → EXIF orientation → RGB → resize (Pillow's BILINEAR, which
antialiases) → uint8[H, W, 3]. Change nothing here without a new `PREPARATION` and new golden pixels.
"""

from __future__ import annotations

import importlib
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.errors import DataError, MissingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PREPARATION = 1
"""Version of the preparation; part of every cache key."""

MAX_PIXELS = 100_000_000
"""Larger photos are refused: decoding one would take more than 300 MB."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What counts as a photo; Pillow would also hand EPS files to Ghostscript."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Major brands (ISO/IEC 23008-12) of files that pillow-heif decodes; AVIF may say mif1 or msf1 too."""

ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""

_DAMAGE = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, zlib.error,
           LookupError, TypeError, ArithmeticError, AssertionError)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""

_LOOKS = (
    ("JPEG", rb"\xff\xd8"),
    ("PNG", rb"\x89PNG"),
    ("WEBP", rb"RIFF....WEBP"),
    ("GIF", rb"GIF8"),
    ("BMP", rb"BM"),
    ("TIFF", rb"II\*\0|MM\0\*"),
    ("AVIF", rb"....ftyp(avi[fs]|mif1|msf1)"),
    ("HEIF", rb"....ftyphe[iv][cxms]"),
    ("a video", rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3"),
    ("HTML", rb"(?i)\s*<(!doctype html|html|head|body)"),
    ("XML or SVG", rb"(?i)\s*<(\?xml|!doctype svg|svg)"),
    ("PDF", rb"%PDF"),
    ("a zip archive", rb"PK\x03\x04"),
    ("zeros", rb"\0+\Z"),
    ("text", rb"[\t\n\f\r\x20-\x7e\x80-\xff]+\Z"),
)
"""How the first 512 bytes look of what Pillow does not open: kind, regular expression."""


@dataclass(frozen=True)
class Facts:
    """What an encoded photo says of itself.

    `format` is Pillow's name (a phone's multi-picture JPEG is JPEG), `mode` Pillow's mode as
    stored, `width` and `height` are those of the upright picture in pixels, `orientation` is
    EXIF's 1..8 (1 where none), and `bytes` the size of the file.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    bytes: int


def prepare(source: bytes | Path | NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels a model sees: uint8[height, width, 3], RGB 0..255.

    `source` is an encoded photo, the path of one, or a decoded uint8[h, w, 3]; `size` is
    (height, width). Transparent pixels are laid on white. Raises DataError for what cannot be
    read, does not decode or is too large, MissingError for a HEIC photo without pillow-heif, and
    FileNotFoundError for a path that does not exist.
    """
    from PIL import Image

    if isinstance(source, bytes):
        return _sized(_decoded(source, f"{len(source)} bytes")[0], size)
    if isinstance(source, Path):
        return _sized(_decoded(_content(source), str(source))[0], size)
    return _sized(to_rgb(Image.fromarray(source)), size)


def examine(data: bytes, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Facts]:
    """What `prepare` gives for an encoded photo, and the photo's facts, from one decoding."""
    image, facts = _decoded(data, f"{len(data)} bytes")
    return _sized(image, size), facts


def decode(data: bytes) -> tuple[NDArray[np.uint8], Facts]:
    """An encoded photo before it is resized, uint8[h, w, 3] upright RGB, and its facts.

    Raises what `prepare` raises; `prepare` of these pixels gives what it gives for the photo.
    """
    import numpy as np

    image, facts = _decoded(data, f"{len(data)} bytes")
    return np.asarray(image, dtype=np.uint8), facts


def to_rgb(image: Image) -> Image:
    """Upright RGB of a decoded image: EXIF orientation applied, transparency laid on white."""
    from PIL import Image

    upright = turned(image, _orientation(image))
    if upright.mode.startswith("I;16"):
        upright = upright.convert("I").point(lambda value: value / 256).convert("L")
    if upright.mode in ("RGBA", "LA", "PA", "La") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, layer)
    return upright.convert("RGB")


def turned(image: Image, orientation: int) -> Image:
    """An image that is stored in EXIF's `orientation` 1..8, upright."""
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
    """EXIF's 1..8; EXIF that cannot be read says nothing, which is 1."""
    try:
        return _valid(image.getexif().get(ORIENTATION))
    except _DAMAGE:
        return 1


def _valid(orientation: Any) -> int:
    return int(orientation) if orientation in range(1, 9) else 1


def _sized(image: Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    import numpy as np
    from PIL.Image import Resampling

    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def _decoded(data: bytes, what: str) -> tuple[Image, Facts]:
    """Upright RGB of an encoded photo, and its facts; `what` names it in errors."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise DataError(f"{what}: empty, expected a photo.")
    Image.MAX_IMAGE_PIXELS = None  # its own limit warns on stderr; ours is below
    # Pillow warns of odd metadata without naming the file; what spoils the picture raises.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    formats = _formats(data, what)
    try:
        image = Image.open(BytesIO(data), formats=formats)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{what}: too large, {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read. "
                "Make a smaller copy."
            )
        return _loaded(image, len(data))
    except UnidentifiedImageError as error:
        raise DataError(f"{what}: {_unknown(data)}.") from error
    except MemoryError as error:
        raise DataError(f"{what}: too large for this machine's memory. Make a smaller copy.") from error
    except _DAMAGE as error:
        raise DataError(f"{what}: damaged{_damage(data, error)}.") from error


def _loaded(image: Image, size: int) -> tuple[Image, Facts]:
    kind, mode, turned = str(image.format), image.mode, 1
    # Pillow turns a TIFF while it loads it, pillow-heif any photo, and both then forget the tag.
    if kind == "TIFF":
        turned = _orientation(image)
    if kind == "HEIF":
        turned = _valid(image.info.get("original_orientation"))
    image.load()
    tagged = _orientation(image)
    orientation = max(turned, tagged)
    plain = image.mode == "RGB" and tagged == 1 and "transparency" not in image.info
    upright = image if plain else to_rgb(image)  # most photos: to_rgb would copy them for nothing
    kind = "JPEG" if kind == "MPO" else kind
    return upright, Facts(kind, mode, upright.width, upright.height, orientation, size)


def _formats(data: bytes, what: str) -> tuple[str, ...]:
    """Formats to try; for a HEIC photo Pillow is taught to read it, or MissingError raised."""
    from PIL import Image

    brands = data[16 : int.from_bytes(data[:4], "big")]
    if data[4:8] != b"ftyp" or data[8:12] not in HEIC_BRANDS or b"avif" in brands or b"avis" in brands:
        return FORMATS
    try:
        plugin = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise MissingError(
            f"{what}: a HEIC photo; pip install 'tledge[heic]', or export it as JPEG."
        ) from error
    if "HEIF" not in Image.OPEN:
        plugin.register_heif_opener()
    return (*FORMATS, "HEIF")


def _unknown(data: bytes) -> str:
    """What a file is that Pillow does not open."""
    for kind, pattern in _LOOKS:
        if re.match(pattern, data[:512], re.DOTALL):
            if kind in (*FORMATS, "HEIF"):
                return f"damaged, it starts as {kind} and its header cannot be read"
            return f"not an image (looks like {kind})"
    return f"not an image of a kind that is read ({', '.join(FORMATS)})"


def _damage(data: bytes, error: Exception) -> str:
    """How a decoder's complaint reads to a person."""
    said = " ".join(str(error).split()) or type(error).__name__
    riff_cut = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if riff_cut or re.search("file is truncated|truncated (file|data)|end of file", said, re.IGNORECASE):
        return ", truncated: the file ends before the picture does"
    return f" ({said})"
