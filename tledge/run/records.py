"""The frozen records that a run folder's JSON files hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tledge._io.json_records import stored_as
from tledge.contract import AbstentionPolicy, InputSpec


@dataclass(frozen=True)
class Score:
    """Accuracy on a split with its 95 % Wilson interval; `top5` where there are over 5 classes."""

    images: int
    accuracy: float
    low: float
    high: float
    top5: float | None = None


@dataclass(frozen=True)
class TrainedRun:
    """`run.json`: what training made."""

    name: str
    version: str
    seed: int
    description: str
    synthetic: bool
    labels: tuple[str, ...]
    input: InputSpec
    backbone: str
    parameters: int
    train_images: int
    validation: Score
    test: Score
    first_stage_validation: Score = field(metadata=stored_as("frozen"))
    """Validation score at the end of the first stage, to show what the later ones brought."""
    seconds: float
    cache: str
    """Folder of the prepared photos; calibration images come from its train split."""
    skipped: tuple[str, ...] = ()
    expected: float = 0.0
    halved: dict[str, int] = field(default_factory=dict)
    """Images at a time in the stages whose batch did not fit into memory, by stage."""
    confidence: AbstentionPolicy | None = None
    """Temperature and threshold of "unsure"; runs of earlier versions have none."""
    remarks: tuple[str, ...] = ()
    """What the scores do not show, a line each: see `tledge.training.scoring`."""


@dataclass(frozen=True)
class Risk:
    """Answering at `threshold` and above: the share of photos answered, and of these the share wrong."""

    threshold: float
    coverage: float
    error: float


@dataclass(frozen=True)
class RiskCoverage:
    """Error among the answered as fewer photos of a split are answered.

    `aurc` is the area under that curve, the mean error over all coverages (Geifman, Uziel and
    El-Yaniv 2019); 0 where nothing is wrong.
    """

    aurc: float
    rows: tuple[Risk, ...]


@dataclass(frozen=True)
class Artifact:
    """`artifacts/<variant>.json`: one converted model and how it came about.

    `made_with` holds the versions of `tledge`, `python` and `packages`; files of earlier versions have none.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityRow:
    """One artifact against Keras; shares in 0..1, `reasons` say what failed or is undecided.

    Of its answers that differ, `lost` were right, `won` are right now, `moved` are wrong as before.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    verdict: str
    images: int = 0
    accuracy: float | None = None
    accuracy_change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    mcnemar_p: float | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    max_abs_dp: float | None = None
    kernels: str = ""
    gate: str = ""
    structural: bool = False
    """True where the verdict is about the file itself and not about its answers."""
    reasons: tuple[str, ...] = ()
    without_bias_correction: dict[str, float] | None = None
    images_needed: int | None = None
    """Images that it would take to decide, where the verdict is "undecided"."""
    ece: float | None = None
    """Expected calibration error: the mean distance of confidence from accuracy."""
    lost: int | None = None
    won: int | None = None
    moved: int | None = None
    flips: str = ""
    """The list of answers that differ, in the run folder; a contact sheet `.png` lies beside it."""
    worst_class: str = ""
    """Of the classes with 20 images or more the one whose recall changed for the worst."""
    worst_class_change: float | None = None
    recall: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """By class: images, Keras' recall, the artifact's recall."""
    coverage: float | None = None
    """Share of the images that it answers, being sure enough; `answered_error` is wrong among these."""
    answered_error: float | None = None
    remarks: tuple[str, ...] = ()
    """What is worth knowing and decides nothing."""


@dataclass(frozen=True)
class Reference:
    """What Keras scored on the images that the artifacts were compared on."""

    accuracy: float
    images: int
    ece: float | None = None
    coverage: float | None = None
    answered_error: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """`parity.json`: every artifact against the Keras model."""

    passed: bool
    reference: Reference
    rows: tuple[ParityRow, ...]
