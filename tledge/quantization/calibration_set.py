"""The calibration set: what it is held to, how steady the ranges are that it gives, and its record."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tledge.errors import DataError
from tledge.run import golden_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNSTEADY = 0.3
"""Largest difference of a range between two halves above which more images are called for.

Measured on MobileNetV2 0.35 at 224 px (hands, flowers, leaves; 20 draws each): 200 photos differ by .06
to .18 at worst, 20 photos, which calibrate as well, by .10 to .26, and 2 to 4 photos by .13 to .43.
"""

BLANKS = 2
"""Images that the conversion adds behind the photos."""

LISTED = 5
"""Tensors, or images, that are named."""


@dataclass(frozen=True)
class CalibrationEntry:
    """One calibration image: its row in the cache, the source's id, its label, SHA-256 of its pixels."""

    row: int
    id: str
    label: str
    sha256: str


@dataclass(frozen=True)
class CalibrationRecord:
    """`calibration.json`: which images ranges were measured on, and what can be said of them.

    `path` and `sha256` are of the file with the pixels; `added` names images that the conversion
    adds to it; `pixels` are the least, largest and mean value; `disjoint_from` says which images
    were compared and found to be others. `stability` is there when a model was converted with it.
    """

    path: str
    sha256: str
    seed: int
    split: str
    count: int
    classes: dict[str, int]
    pixels: dict[str, float]
    added: tuple[str, ...]
    disjoint_from: dict[str, Any]
    images: tuple[CalibrationEntry, ...]
    stability: dict[str, Any] | None = None


def require_usable(images: NDArray[Any]) -> None:
    """Raise DataError for what cannot calibrate: no pixels, not finite, out of range, all the same."""
    if images.ndim != 4 or not len(images) or images.shape[-1] != 3:
        raise DataError(
            f"the calibration set is empty or no set of RGB images: its shape is {images.shape}, expected "
            "(images, height, width, 3). Set [export.calibration] images to 100 to 500."
        )
    _require_bytes(images)
    if len(images) > 1 and (images == images[0]).all():
        raise DataError(
            f"the {len(images)} calibration images are all the same: ranges would fit one picture. "
            "Expected photos of every class; check the photos."
        )


def _require_bytes(images: NDArray[Any]) -> None:
    import numpy as np

    if images.dtype == np.uint8:
        return
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise DataError("the calibration set holds NaN or infinity, expected pixels 0..255 as uint8.")
    low, high = images.min(), images.max()
    scaled = " They look scaled: the model scales bytes itself." if low >= -1 and high <= 1 else ""
    raise DataError(
        f"the calibration set holds {images.dtype} values from {low:g} to {high:g}, expected pixels "
        f"0..255 as uint8.{scaled}"
    )


def with_blanks(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images, one of zeros and one of 255.

    The two make the input range exactly 0..255, so that a byte is its own quantized value.
    """
    import numpy as np

    blank = np.zeros_like(images[:1])
    return np.concatenate([images, blank, blank + np.uint8(255)])


def load(path: str | None, mode: str) -> NDArray[np.uint8]:
    """The calibration images of a conversion's `.npy` file, and the blanks.

    Raises DataError where there are none, and the converter would write a float model and say
    nothing, and where they are no pixels.
    """
    import numpy as np

    if path is None:
        raise DataError(f"{mode}: no calibration set; an int8 model cannot be made without one.")
    images = np.load(path, allow_pickle=False)
    require_usable(images)
    return with_blanks(images)


def digest(image: NDArray[np.uint8]) -> str:
    """SHA-256 of an image's pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def digests(reference: golden_set.Golden) -> dict[str, str]:
    """The ids of the golden set's images by their pixels' SHA-256."""
    return {digest(image): name for image, name in zip(reference.images, reference.ids, strict=True)}


def copies(entries: Sequence[CalibrationEntry], tested: Mapping[str, str]) -> dict[int, str]:
    """Entries, by place, that are pixel by pixel an image which verifies: its id of those in `tested`.

    Near-duplicates are the split's matter: `[data] group`.
    """
    return {place: tested[one.sha256] for place, one in enumerate(entries) if one.sha256 in tested}


def left_out(entries: Sequence[CalibrationEntry], found: Mapping[int, str]) -> str:
    """What to say of train photos that are test photos too; raises DataError where there are no others."""
    named = "; ".join(f"{entries[place].id} is {name}" for place, name in list(found.items())[:LISTED])
    more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
    advice = (
        'Remove the copies, or keep them on one side with [data] group = "near-duplicates", and train again.'
    )
    if len(found) == len(entries):
        raise DataError(f"all {len(found)} calibration images are test photos ({named}{more}). {advice}")
    return (
        f"{len(found)} train photos are test photos too ({named}{more}), and were left out of the "
        f"calibration set. {advice}"
    )


def record(
    images: NDArray[np.uint8],
    entries: Sequence[CalibrationEntry],
    disjoint_from: dict[str, Any],
    **facts: Any,
) -> CalibrationRecord:
    """The record of images uint8[N, H, W, 3] that `entries` name; `facts` are its other fields."""
    pixels = {"least": int(images.min()), "largest": int(images.max()), "mean": round(images.mean(), 3)}
    return CalibrationRecord(
        count=len(images),
        classes=dict(sorted(Counter(one.label for one in entries).items())),
        pixels=pixels,
        added=("all 0", "all 255"),
        disjoint_from=disjoint_from,
        images=tuple(entries),
        **facts,
    )


@dataclass(frozen=True)
class Difference:
    """A tensor whose range differs between the two halves; `share` is of the range's width."""

    tensor: str
    first: tuple[float, float]
    second: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Stability:
    """How far ranges from two disjoint halves of the photos differ, as shares of the ranges' widths."""

    images: tuple[int, int]
    tensors: int
    largest: float
    worst: tuple[Difference, ...]
    warning: str = ""


def stability(
    spans: Mapping[int, NDArray[np.float32]], names: Mapping[int, str], photos: int
) -> dict[str, Any] | None:
    """Compare the ranges of every second photo with those of the others; None for fewer than two.

    `spans` are float32[images, 2], least and largest value a tensor holds for each image, of which
    the first `photos` are no blanks. A range holds 0, as the quantizer's does.
    """
    if photos < 2 or not spans:
        return None
    found = sorted((_difference(names[one], span[:photos]) for one, span in spans.items()), key=_by_share)
    halves = len(range(0, photos, 2)), len(range(1, photos, 2))
    worst = found[0]
    return asdict(Stability(halves, len(found), worst.share, tuple(found[:LISTED]), _warning(worst, photos)))


def _by_share(one: Difference) -> tuple[float, str]:
    return -one.share, one.tensor


def _difference(name: str, span: NDArray[np.float32]) -> Difference:
    """The larger move of either end, as a share of the wider range."""
    halves = [
        (min(0.0, float(half[:, 0].min())), max(0.0, float(half[:, 1].max())))
        for half in (span[::2], span[1::2])
    ]
    (low, high), (other_low, other_high) = halves
    width = max(high - low, other_high - other_low)
    moved = max(abs(low - other_low), abs(high - other_high))
    return Difference(name, halves[0], halves[1], moved / width if width else 0.0)


def _warning(worst: Difference, photos: int) -> str:
    if worst.share <= UNSTEADY:
        return ""
    (low, high), (other_low, other_high) = worst.first, worst.second
    return (
        f"the range of {worst.tensor} differs by {worst.share:.0%} between two halves of the {photos} "
        f"calibration images ({low:.3g}…{high:.3g}, {other_low:.3g}…{other_high:.3g}): calibrate on more, "
        "[export.calibration] images."
    )
