"""List the scalings of pixel values that image classifiers are trained with, and apply one.

A model that tledge trained takes bytes. A model from elsewhere may expect its pixels scaled outside of it:
`(byte - mean) / std` for each channel, in the channel order of its training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING

from tledge.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDERS = ("RGB", "BGR")
"""The channel orders of a colour image."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R Recommendation BT.601; Pillow's mode "L")."""


@dataclass(frozen=True)
class Scaling:
    """How bytes become a model's input: `(byte - mean) / std` for each channel.

    Attributes:
        name: As `--scaling` takes it.
        mean: What is subtracted from a byte 0..255: one number, or one for each channel in `order`.
        std: What the difference is divided by, likewise.
        order: The order in which the model takes the channels, "RGB" or "BGR"; a grey model has none.

    Raises:
        ValueError: a number is not finite, a `std` is not above 0, or there are not one or three numbers.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: str = "RGB"

    def __post_init__(self) -> None:
        if self.order not in ORDERS or not {len(self.mean), len(self.std)} <= {1, 3}:
            raise ValueError(f"mean {self.mean} and std {self.std} need one number or three each")
        if not all(isfinite(value) for value in self.mean) or not all(0 < value < inf for value in self.std):
            raise ValueError(f"mean {self.mean} must be finite numbers and std {self.std} above 0")

    @property
    def is_bytes(self) -> bool:
        """Whether the model takes the bytes themselves, as numbers in RGB."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0} and self.order == "RGB"

    @property
    def per_channel(self) -> bool:
        """Whether the channels are scaled differently, which a grey image cannot be."""
        return len(set(self.mean)) > 1 or len(set(self.std)) > 1

    def has_values_of(self, other: Scaling) -> bool:
        """Check whether this scaling gives each colour the values of another one; the order may differ."""
        return self._by_colour() == other._by_colour()

    def _by_colour(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        step = 1 if self.order == "RGB" else -1
        return (self.mean * (3 // len(self.mean)))[::step], (self.std * (3 // len(self.std)))[::step]

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale images.

        Args:
            images: uint8[N, H, W, 3] in RGB, or uint8[N, H, W, 1] in grey.

        Returns:
            float32 of the same shape, with the channels in `order`.

        Raises:
            ValueError: the images are grey and the channels are scaled differently.
        """
        import numpy as np

        if images.shape[-1] == 1 and self.per_channel:
            raise ValueError(f"{self.name} scales colours differently, and the images are grey")
        ordered = images[..., ::-1] if self.order == "BGR" else images
        mean, std = (np.array(_shortest(values), np.float32) for values in (self.mean, self.std))
        scaled: NDArray[np.float32] = (ordered.astype(np.float32) - mean) / std
        return scaled

    def describe(self) -> str:
        """Return the scaling in words, such as "(byte - 127.5) / 127.5, channels RGB"."""
        mean, std = (
            _text(values) if len(_shortest(values)) == 1 else f"[{_text(values)}]"
            for values in (self.mean, self.std)
        )
        return f"(byte - {mean}) / {std}, channels {self.order}"


def _shortest(values: tuple[float, ...]) -> tuple[float, ...]:
    return values[:1] if len(set(values)) == 1 else values


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in _shortest(values))


def _other_order(scaling: Scaling) -> Scaling:
    """Return the scaling with each colour's own numbers, and the channels in the other order."""
    order = "BGR" if scaling.order == "RGB" else "RGB"
    name = f"{scaling.name},{order.lower()}"
    return Scaling(name, scaling.mean[::-1], scaling.std[::-1], order)


BYTES = Scaling("0..255", (0.0,), (1.0,))
TO_ONE = Scaling("0..1", (0.0,), (255.0,))
AROUND_ZERO = Scaling("-1..1", (127.5,), (127.5,))
CAFFE = Scaling("caffe", (103.939, 116.779, 123.68), (1.0,), "BGR")
TORCH = Scaling("torch", (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))

SCALINGS: tuple[Scaling, ...] = tuple(
    scaling
    for first in (BYTES, TO_ONE, AROUND_ZERO, CAFFE, TORCH)
    for scaling in (first, _other_order(first))
)
"""The scalings that people use, each in both channel orders.

Sources: `0..255` is what EfficientNet and MobileNetV3 of `keras.applications` take; `-1..1` ("tf"), `caffe`
and `torch` are the modes of `keras.applications.imagenet_utils.preprocess_input`
(keras/src/applications/imagenet_utils.py): caffe subtracts ImageNet's mean 103.939, 116.779, 123.68 from
blue, green, red and does not divide; torch divides by 255, subtracts .485, .456, .406 and divides by .229,
.224, .225, as torchvision's models were trained (https://pytorch.org/vision/stable/models.html). `0..1` is
what a `Rescaling(1 / 255)` in front of a model gives, and the default of TensorFlow Hub's image modules
(https://www.tensorflow.org/hub/common_signatures/images).
"""

NAMES = tuple(scaling.name for scaling in SCALINGS)

_FIGURES = re.compile(r"mean=(?P<mean>[-+.,0-9e]+?),std=(?P<std>[-+.,0-9e]+?)(?:,(?P<order>rgb|bgr))?")


def parse_scaling(text: str, name: str = "--scaling") -> Scaling:
    """Return the scaling that the text of `--scaling` names.

    Args:
        text: A name of `SCALINGS`, such as "-1..1" or "torch,bgr"; or the figures themselves,
            "mean=127.5,std=127.5" or "mean=104,117,123,std=1,bgr", for bytes 0..255, in the order of the
            model's channels.
        name: What a message calls it.

    Raises:
        RecipeError: it is neither; the message lists the names.
    """
    wanted = text.strip().lower().replace(" ", "")
    for scaling in SCALINGS:
        if wanted in (scaling.name, f"{scaling.name},{scaling.order.lower()}"):
            return scaling
    figures = _FIGURES.fullmatch(wanted)
    try:
        if figures:
            mean, std = (tuple(float(value) for value in figures[key].split(",")) for key in ("mean", "std"))
            return Scaling(wanted, mean, std, (figures["order"] or "rgb").upper())
    except ValueError as error:
        raise RecipeError(f"{name} {text[:200]!r}: {error}.") from error
    raise RecipeError(f"{name} {text[:200]!r} is not a scaling. Expected {choices()}.")


def choices() -> str:
    """Return what `--scaling` takes, for a message."""
    return f"one of {' '.join(NAMES)}, or figures for bytes 0 to 255 such as mean=127.5,std=127.5"


def from_range(low: float, high: float, order: str = "RGB") -> Scaling:
    """Return the scaling that maps the bytes 0 and 255 to `low` and `high`, named if it is a known one.

    Raises:
        ValueError: `high` is not above `low`, or a number is not finite.
    """
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ValueError(f"{low} to {high} is no range of pixel values")
    std = 255 / (high - low)
    return named(Scaling("", (-low * std,), (std,), order))


def named(scaling: Scaling, tolerance: float = 0.02) -> Scaling:
    """Return the known scaling that has these figures to within `tolerance` of a byte, else this one named.

    Metadata and quantized inputs round their figures: a scale of 1/128 for -1..1 counts as itself.
    """
    for known in SCALINGS:
        pairs = zip(
            (*known._by_colour()[0], *known._by_colour()[1]),
            (*scaling._by_colour()[0], *scaling._by_colour()[1]),
            strict=True,
        )
        if known.order == scaling.order and all(abs(a - b) <= tolerance for a, b in pairs):
            return known
    suffix = ",bgr" if scaling.order == "BGR" else ""
    figures = f"mean={_figures(scaling.mean)},std={_figures(scaling.std)}{suffix}"
    return replace(scaling, name=figures)


def _figures(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.9g}" for value in _shortest(values))
