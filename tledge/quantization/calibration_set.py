"""Check the calibration set, measure how stable the ranges are that it gives, and record it."""

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

UNSTABLE = 0.3
"""Difference of a range between two halves of the images, as a share, above which there is a warning.

Measured on MobileNetV2 0.35 at 224 px (hands, flowers, leaves; 20 draws each): 200 photos differ by at
most .06 to .18, 20 photos, which calibrate as well, by .10 to .26, and 2 to 4 photos by .13 to .43.
"""

BLANKS = 2
"""Images that the conversion appends to the photos."""

LISTED = 5
"""Largest number of tensors, or images, that a text names."""


@dataclass(frozen=True)
class CalibrationEntry:
    """One calibration image: its row in the cache, its id in the source, its label, SHA-256 of its pixels."""

    row: int
    id: str
    label: str
    sha256: str


@dataclass(frozen=True)
class CalibrationRecord:
    """`calibration.json`: the images that ranges were measured on, and facts about them.

    `path` and `sha256` are those of the file with the pixels; `added` names images that the conversion
    appends; `pixels` are the least, largest and mean value; `disjoint_from` says with which images they
    were compared and found to be different. `stability` is set once a model was converted with them.
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
    """Raise DataError for images that cannot calibrate: no pixels, not finite, out of range, all the same."""
    if images.ndim != 4 or not len(images) or images.shape[-1] != 3:
        raise DataError(
            f"the calibration set is empty or does not hold RGB images: its shape is {images.shape}, "
            "expected (images, height, width, 3). Set [export.calibration] images to 100 to 500."
        )
    _require_bytes(images)
    if len(images) > 1 and (images == images[0]).all():
        raise DataError(
            f"the {len(images)} calibration images are all the same: ranges would fit only one image. "
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
    """Append an image of zeros and one of 255 to images uint8[N, H, W, 3].

    The two make the input range exactly 0..255, so that a byte is its own quantized value.
    """
    import numpy as np

    blank = np.zeros_like(images[:1])
    return np.concatenate([images, blank, blank + np.uint8(255)])


def load(path: str | None, mode: str) -> NDArray[np.uint8]:
    """Read the calibration images of a conversion from an `.npy` file, and append the blanks.

    Raises DataError where there are none (the converter would silently write a float model), or where they
    are no pixels.
    """
    import numpy as np

    if path is None:
        raise DataError(f"{mode}: no calibration set; an int8 model cannot be made without one.")
    images = np.load(path, allow_pickle=False)
    require_usable(images)
    return with_blanks(images)


def pixel_sha256(image: NDArray[np.uint8]) -> str:
    """Hash the pixels of an image uint8[H, W, 3] with SHA-256."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def ids_by_sha256(reference: golden_set.Golden) -> dict[str, str]:
    """Map the SHA-256 of the pixels of the golden set's images to their ids."""
    return {pixel_sha256(image): name for image, name in zip(reference.images, reference.ids, strict=True)}


def find_copies(entries: Sequence[CalibrationEntry], test_ids: Mapping[str, str]) -> dict[int, str]:
    """Map the positions of entries that equal a test image, pixel by pixel, to the id of that image.

    `test_ids` has the ids of test images by SHA-256. Near-duplicates are for the split to handle:
    `[data] group`.
    """
    return {
        position: test_ids[entry.sha256] for position, entry in enumerate(entries) if entry.sha256 in test_ids
    }


def describe_copies(entries: Sequence[CalibrationEntry], copies: Mapping[int, str], group: str) -> str:
    """Describe the train photos that are test photos too; raises DataError where there are no others.

    `group` is the recipe's rule for images that stay together.
    """
    named = "; ".join(f"{entries[position].id} is {name}" for position, name in list(copies.items())[:LISTED])
    more = f", and {len(copies) - LISTED} more" if len(copies) > LISTED else ""
    together = ', or keep them on one side with [data] group = "near-duplicates"' * (group == "none")
    advice = f"Remove the copies{together}, and train again."
    if len(copies) == len(entries):
        raise DataError(f"all {len(copies)} calibration images are test photos ({named}{more}). {advice}")
    return (
        f"{len(copies)} train photos are test photos too ({named}{more}), and were left out of the "
        f"calibration set. {advice}"
    )


def make_record(
    images: NDArray[np.uint8],
    entries: Sequence[CalibrationEntry],
    disjoint_from: dict[str, Any],
    **facts: Any,
) -> CalibrationRecord:
    """Make the record of images uint8[N, H, W, 3] that `entries` name; `facts` are its other fields."""
    pixels = {"least": int(images.min()), "largest": int(images.max()), "mean": round(images.mean(), 3)}
    return CalibrationRecord(
        count=len(images),
        classes=dict(sorted(Counter(entry.label for entry in entries).items())),
        pixels=pixels,
        added=("all 0", "all 255"),
        disjoint_from=disjoint_from,
        images=tuple(entries),
        **facts,
    )


@dataclass(frozen=True)
class Difference:
    """How the range of a tensor differs between two halves; `share` is relative to the width of the range."""

    tensor: str
    first: tuple[float, float]
    second: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Stability:
    """How far the ranges of two disjoint halves of the photos differ, relative to the ranges' widths."""

    images: tuple[int, int]
    tensors: int
    largest: float
    worst: tuple[Difference, ...]
    warning: str = ""


def stability(
    spans: Mapping[int, NDArray[np.float32]], names: Mapping[int, str], photos: int
) -> dict[str, Any] | None:
    """Compare the ranges of every second photo with those of the others; None for fewer than two photos.

    Args:
        spans: By number of the tensor, its least and largest value for each image, float32[images, 2].
        names: Names of the tensors.
        photos: How many of the images, the first ones, are photos and no blanks.

    Returns:
        A `Stability` as a dictionary. Ranges are widened to hold 0, as the quantizer's are.
    """
    if photos < 2 or not spans:
        return None
    unsorted = [_difference(names[tensor], span[:photos]) for tensor, span in spans.items()]
    differences = sorted(unsorted, key=_largest_first)
    halves = len(range(0, photos, 2)), len(range(1, photos, 2))
    worst = differences[0]
    listed = tuple(differences[:LISTED])
    return asdict(Stability(halves, len(differences), worst.share, listed, _warning(worst, photos)))


def _largest_first(difference: Difference) -> tuple[float, str]:
    return -difference.share, difference.tensor


def _difference(name: str, span: NDArray[np.float32]) -> Difference:
    """Compute the larger change of either end, as a share of the wider range."""
    halves = [
        (min(0.0, float(half[:, 0].min())), max(0.0, float(half[:, 1].max())))
        for half in (span[::2], span[1::2])
    ]
    (low, high), (other_low, other_high) = halves
    width = max(high - low, other_high - other_low)
    change = max(abs(low - other_low), abs(high - other_high))
    return Difference(name, halves[0], halves[1], change / width if width else 0.0)


def _warning(worst: Difference, photos: int) -> str:
    if worst.share <= UNSTABLE:
        return ""
    (low, high), (other_low, other_high) = worst.first, worst.second
    return (
        f"the range of {worst.tensor} differs by {worst.share:.0%} between two halves of the {photos} "
        f"calibration images ({low:.3g}…{high:.3g}, {other_low:.3g}…{other_high:.3g}). Set "
        "[export.calibration] images to more."
    )
