"""Define the records in a run folder's JSON files, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tledge._io.json_records import omitted_by_default, stored_as
from tledge.contract import AbstentionPolicy, InputSpec

SKIPPED = "skipped"
"""Verdict of an artifact that was not checked because its runtime is not installed here."""


@dataclass(frozen=True)
class Score:
    """Accuracy on a split with its 95 % Wilson interval; `top5` if there are more than 5 classes."""

    images: int
    accuracy: float
    low: float
    high: float
    top5: float | None = None


@dataclass(frozen=True)
class Origin:
    """Where the model of a run comes from that tledge did not train.

    Attributes:
        file: Name of the adopted file or folder; `adopted/` in the run holds it.
        sha256: Its hash.
        framework: What wrote it, such as "Keras 2".
        version: The framework's version; "" where the file does not say it.
        scaling: Name of the scaling that was put in front of the model, "0..255" for none.
        scaling_from: How it was found: "given", "model" or "photos".
        labels_from: Where the labels come from: "file", "archive" or "folders".
        changes: What was changed in the model, a sentence each.
    """

    file: str
    sha256: str
    framework: str
    version: str
    scaling: str
    scaling_from: str
    labels_from: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """`run.json`: the trained model and its scores.

    `version` is the recipe's, with a hash of the model, see `tledge.run.versions`; in runs of earlier
    versions of tledge it is the recipe's alone.
    """

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
    """Validation score at the end of the first stage, to show what the later stages improved."""
    seconds: float
    cache: str
    """Folder of the preprocessed images; calibration images come from its train split."""
    skipped: tuple[str, ...] = ()
    expected: float = 0.0
    halved: dict[str, int] = field(default_factory=dict)
    """Images per step in the stages whose batch did not fit into memory, by stage."""
    confidence: AbstentionPolicy | None = None
    """Temperature and threshold below which a prediction is rejected; runs of earlier versions have none."""
    remarks: tuple[str, ...] = ()
    """Warnings about the scores, one line each: see `tledge.data.scores`."""
    trained_on: str = ""
    """Date (UTC) on which the training ended, as YYYY-MM-DD; runs of earlier versions have none."""
    origin: Origin | None = field(default=None, metadata=omitted_by_default())
    """Where the model comes from, if tledge did not train it."""


@dataclass(frozen=True)
class Risk:
    """With a confidence `threshold`: the coverage, and the share of wrong predictions among those "
    "accepted."""

    threshold: float
    coverage: float
    error: float


@dataclass(frozen=True)
class RiskCoverage:
    """Error among the accepted predictions of a split, for decreasing coverage.

    `aurc` is the area under that curve, the mean error over all coverages (Geifman, Uziel and
    El-Yaniv 2019); 0 where nothing is wrong.
    """

    aurc: float
    rows: tuple[Risk, ...]


@dataclass(frozen=True)
class Artifact:
    """`artifacts/<variant>.json`: one converted model and how it was made.

    `made_with` holds the versions of `tledge`, `python` and `packages`; `inputs` what the file was made from,
    see `tledge.conversion.kept_artifacts`. Files of earlier versions have none.
    """

    variant: str
    path: str
    sha256: str
    bytes: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityRow:
    """One artifact compared with Keras; shares are from 0 to 1, `reasons` say what failed or is undecided.

    Of the predictions that differ, `lost` counts regressions, `won` fixes, and `moved` those that are
    still wrong, differently.
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
    """Whether the verdict is about the file itself and not about its predictions."""
    reasons: tuple[str, ...] = ()
    without_bias_correction: dict[str, float] | None = None
    images_needed: int | None = None
    """Number of images needed to decide, where the verdict is "undecided"."""
    ece: float | None = None
    """Expected calibration error: the mean distance of confidence from accuracy."""
    lost: int | None = None
    won: int | None = None
    moved: int | None = None
    flips: str = ""
    """Path in the run folder of the list of predictions that differ; a contact sheet `.png` is beside it."""
    worst_class: str = ""
    """Of the classes with 20 images or more, the one whose recall dropped the most."""
    worst_class_change: float | None = None
    recall: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """By class: number of images, recall of Keras, recall of the artifact."""
    coverage: float | None = None
    """Share of predictions at or above the confidence threshold; `answered_error` is the error among "
    "these."""
    answered_error: float | None = None
    remarks: tuple[str, ...] = ()
    """Notes that do not affect the verdict."""
    arena_bytes: int | None = None
    """Arena that tflite-micro needed for this file; None where it was not measured."""
    provisional: bool = False
    """Whether the verdict is "undecided" only because images are too few, and it is bundled nevertheless."""
    independent_images: int | None = None
    """Independent images that the verdict on agreement rests on: copies of an image do not count."""
    independent_agreement: float | None = None
    """Agreement on the independent images; `independent_low`, `independent_high` are its 95 % bounds."""
    independent_sources: dict[str, int] = field(default_factory=dict)
    """Independent images by where they come from: "test", "validation", "extra"."""
    independent_needed: int | None = None
    """Independent images that would let a provisional artifact pass, if no other prediction differs."""
    independent_low: float | None = None
    independent_high: float | None = None

    @property
    def is_bundled(self) -> bool:
        """Whether a bundle holds it without being asked for unverified artifacts."""
        return self.verdict == "passed" or self.provisional


@dataclass(frozen=True)
class Reference:
    """Scores of Keras on the images on which the artifacts were compared."""

    accuracy: float
    images: int
    ece: float | None = None
    coverage: float | None = None
    answered_error: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """`parity.json`: every artifact compared with the Keras model."""

    passed: bool
    reference: Reference
    rows: tuple[ParityRow, ...]

    @property
    def all_bundled(self) -> bool:
        """Whether everything that was checked passed or is provisional."""
        return all(row.is_bundled for row in self.rows if row.verdict != SKIPPED)

    @property
    def any_bundled(self) -> bool:
        """Whether at least one artifact passed or is provisional, so that there is something to bundle."""
        return any(row.is_bundled for row in self.rows)
