"""What a model takes and returns, and the manifest that says so to every runner.

Every artifact takes RGB bytes `uint8[N, H, W, 3]` and returns class probabilities. The scaling
that the backbone wants lives inside the model, so no runner knows a mean or a deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tledge._io.encoding import CONTROL
from tledge.errors import ArtifactError

INPUT_NAME = "image"


@dataclass(frozen=True)
class InputSpec:
    """The input: RGB bytes 0 to 255, `[N, height, width, 3]`, stretched to size.

    `resize` names the one preparation: Pillow's BILINEAR, which antialiases when it shrinks.
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


TOLERANCES = {"float": 1e-4, "fp16": 1e-4, "int8": 2.5 / 256}
"""Largest probability difference from the answers recorded at export, by gate.

Float kernels differ in the order of their sums; two int8 steps cover another processor's kernels.
"""


@dataclass(frozen=True)
class AbstentionPolicy:
    """How sure an answer is, and from when on it counts; fitted on validation photos.

    The confidence of a class is its probability `p^(1 / temperature)`, divided by the sum of these
    over all classes. Where the largest is below `threshold` (0..1) the model is unsure, and what
    it answers is not to be taken. `coverage` is the share of `images` validation photos that it
    answers, `error` the share wrong among these. Raises ValueError for numbers that make no sense.
    """

    temperature: float
    threshold: float
    images: int = 0
    coverage: float = 1.0
    error: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.temperature < inf and 0 <= self.threshold <= 1):
            raise ValueError(f"temperature {self.temperature!r} or threshold {self.threshold!r}")


def labels_text(labels: tuple[str, ...]) -> str:
    """The text of `labels.txt`: one name a line, in index order."""
    return "".join(f"{label}\n" for label in labels)


def parse_labels(text: str) -> tuple[str, ...]:
    """The names in the text of a labels file; empty lines at its end are ignored."""
    return tuple(text.rstrip("\n").split("\n")) if text.strip() else ()


def checked_labels(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """The labels; raises ArtifactError for one with control characters, which would rule a terminal."""
    for label in labels:
        if CONTROL.search(label):
            raise ArtifactError(f"{where}: the label {label[:80]!r} holds control characters.")
    return tuple(labels)


OUTPUT_NAME = "probabilities"
