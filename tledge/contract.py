"""Define what every model takes and returns: input, output, labels, tolerances, confidence threshold.

Every artifact but `tflite-int16x8` takes RGB bytes `uint8[N, H, W, 3]`, and returns class probabilities. The
scaling that the backbone needs is part of the model, so no app has to know a mean or a standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from tledge._io.encoding import CONTROL
from tledge._io.json_records import omitted_by_default
from tledge.errors import ArtifactError

INPUT_NAME = "image"


@dataclass(frozen=True)
class InputSpec:
    """The input: RGB bytes 0 to 255, `[N, height, width, 3]`, stretched to size.

    `resize` names the preprocessing: Pillow's BILINEAR, which antialiases when it shrinks. `pixel_range`
    holds the values of black and white in photos deeper than 8 bits, where the recipe sets them.
    """

    height: int
    width: int
    dtype: str = "uint8"
    layout: str = "NHWC"
    color: str = "RGB"
    low: int = 0
    high: int = 255
    resize: str = "bilinear-antialias"
    fit: str = "stretch"
    pixel_range: tuple[float, ...] = field(default=(), metadata=omitted_by_default())


TOLERANCES = {"float": 1e-4, "fp16": 1e-4, "int8": 2.5 / 256}
"""Largest difference of a probability from the predictions recorded at export, by gate.

Float kernels differ in the order of their sums; two int8 steps cover the kernels of another processor.
"""


@dataclass(frozen=True)
class AbstentionPolicy:
    """When a prediction is rejected as unsure: a temperature and a threshold, fitted on validation images.

    The confidence of a class is its probability `p^(1 / temperature)`, divided by the sum of these
    over all classes. A prediction whose largest confidence is below `threshold` (0..1) is rejected.
    `coverage` is the share of `images` validation images that are not rejected, `error` the share of
    wrong predictions among these. A `threshold` of 0 is not set: no prediction is rejected, and `reason`
    says why; policies of early versions have no reason.

    Raises:
        ValueError: `temperature` is not above 0 or not finite, or `threshold` is not from 0 to 1.
    """

    temperature: float
    threshold: float
    images: int = 0
    coverage: float = 1.0
    error: float = 0.0
    reason: str = field(default="", metadata=omitted_by_default())

    def __post_init__(self) -> None:
        if not (0 < self.temperature < inf and 0 <= self.threshold <= 1):
            raise ValueError(f"temperature {self.temperature!r} or threshold {self.threshold!r}")


def labels_text(labels: tuple[str, ...]) -> str:
    """Return the text of `labels.txt`: one label a line, in the order of the output."""
    return "".join(f"{label}\n" for label in labels)


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels in the text of a labels file; empty lines at its end are ignored."""
    return tuple(text.rstrip("\n").split("\n")) if text.strip() else ()


def checked_labels(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the labels; raise ArtifactError if one holds control characters, which a terminal would obey."""
    for label in labels:
        if CONTROL.search(label):
            raise ArtifactError(f"{where}: the label {label[:80]!r} contains control characters.")
    return tuple(labels)


OUTPUT_NAME = "probabilities"
