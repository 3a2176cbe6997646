"""Conversion jobs and their results: what the exporting process sends to a worker, and what it gets back.

A job is one of six frozen dataclasses: one for each way to make an artifact, and one to predict images. As
JSON it is an object with the key `kind`. A converter in another process needs nothing else: paths are
absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tledge._io.json_records import from_json, to_json
from tledge.config import Parity

if TYPE_CHECKING:
    from tledge.quantization.bias_correction import Correction
    from tledge.quantization.repair import TrialResult

KIND = "kind"
"""Key in a job's JSON object that names its class, see `JOB_KINDS`."""


@dataclass(frozen=True)
class ConversionTarget:
    """The part that all jobs have: the Keras model to convert, the artifact to write, and its texts.

    Args:
        model: path of the `.keras` file.
        out: path of the artifact, a file or a folder.
        mode: mode of the format, such as "int8"; "" for SavedModel.
        name: name of the model, written into the artifact, as are `version` and `description`.
        version: version of the model.
        description: one sentence on the model.
        labels: label of each class, in the order of the output's last axis.
        pixel_range: the values of black and white in photos deeper than 8 bits, where the recipe has them.
    """

    model: str
    out: str
    mode: str
    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    pixel_range: tuple[float, ...] = ()


@dataclass(frozen=True)
class UncalibratedJob:
    """A conversion that needs the model only: SavedModel, fp32, fp16, dynamic."""

    target: ConversionTarget


@dataclass(frozen=True)
class CalibratedJob:
    """A conversion to integers with ranges measured on images: TFLite int8 and int16x8, ONNX int8.

    Args:
        target: model and artifact.
        calibration_images: path of an `.npy` file with uint8[N, H, W, 3].
        bias_correction: whether biases are corrected before weights are rounded.
        uncorrected: path to write the same conversion to without bias correction; None for not at
            all. It is written only where `bias_correction` is on.
    """

    target: ConversionTarget
    calibration_images: str
    bias_correction: bool = False
    uncorrected: str | None = None


@dataclass(frozen=True)
class RepairJob:
    """A TFLite int8 conversion that tries repairs until one passes the parity gates.

    Args:
        target: model and artifact; `target.mode` is "int8", the artifact may be of another mode.
        calibration_images: path of an `.npy` file with uint8[N, H, W, 3].
        selection_images: path of an `.npz` file with `images` uint8[N, H, W, 3] and `labels` int64[N],
            on which candidates are compared.
        limits: the parity gates that a candidate must pass.
        integer_only: whether candidates with float operators or another mode are left out.
        uncorrected: path to write the first candidate to, the converter's own result.
    """

    target: ConversionTarget
    calibration_images: str
    selection_images: str
    limits: Parity
    integer_only: bool
    uncorrected: str


@dataclass(frozen=True)
class MixedPrecisionJob:
    """A TFLite conversion to integers that leaves those operators in float that need it.

    Args:
        target: model and artifact.
        calibration_images: path of an `.npy` file with uint8[N, H, W, 3].
        selection_images: path of an `.npz` file with `images` uint8[N, H, W, 3] and `labels` int64[N],
            on which candidates are compared.
        limits: the parity gates that a candidate must pass.
    """

    target: ConversionTarget
    calibration_images: str
    selection_images: str
    limits: Parity


@dataclass(frozen=True)
class QuantizationAwareJob:
    """A TFLite int8 conversion of a model that was trained quantization-aware; needs no images.

    Args:
        target: model and artifact.
        ranges: path of the JSON file with the ranges that the model was trained with.
    """

    target: ConversionTarget
    ranges: str


@dataclass(frozen=True)
class PredictionJob:
    """No conversion: predictions of the Keras model, which the worker has open.

    Args:
        target: the model, and the `.npy` file of probabilities float32[N, classes] to write.
        images: path of an `.npy` file with uint8[N, H, W, 3].
    """

    target: ConversionTarget
    images: str


ConversionJob = UncalibratedJob | CalibratedJob | RepairJob | MixedPrecisionJob | QuantizationAwareJob
"""Every kind of job; a converter handles those that its format has, and refuses the others."""

Job = ConversionJob | PredictionJob
"""Every kind of job that the worker does."""

JOB_KINDS: dict[str, type[Job]] = {
    "uncalibrated": UncalibratedJob,
    "calibrated": CalibratedJob,
    "repair": RepairJob,
    "mixed-precision": MixedPrecisionJob,
    "quantization-aware": QuantizationAwareJob,
    "prediction": PredictionJob,
}
"""The classes of jobs by the name that JSON has for them."""


def job_to_json(job: Job) -> dict[str, Any]:
    """Return a job as an object for JSON, with its kind."""
    kind = next(name for name, job_class in JOB_KINDS.items() if type(job) is job_class)
    return {KIND: kind, **to_json(job)}


def job_from_json(fields: Mapping[str, Any]) -> Job:
    """Return the job that `job_to_json` made this object of.

    Raises:
        ValueError: the kind is unknown, or a field is missing, unknown or of another type.
    """
    values = dict(fields)
    kind = values.pop(KIND, None)
    if kind not in JOB_KINDS:
        raise ValueError(f"{KIND} is {kind!r}, expected one of {', '.join(JOB_KINDS)}")
    return from_json(JOB_KINDS[kind], values)


@dataclass(frozen=True)
class CalibrationResult:
    """What a conversion with calibration images reports.

    Args:
        images: number of calibration images, the two blank ones included.
        stability: how far ranges differ between two halves of the images, see
            `calibration_set.Stability`; None where it was not measured.
        corrections: what bias correction did to each layer; None where it was off.
    """

    images: int
    stability: dict[str, Any] | None = None
    corrections: tuple[Correction, ...] | None = None

    def details(self) -> dict[str, Any]:
        """Return the result under the keys of an artifact's details."""
        details: dict[str, Any] = {"calibration_images": self.images, **_stability_details(self.stability)}
        if self.corrections is not None:
            details["bias_correction"] = [asdict(correction) for correction in self.corrections]
        return details


@dataclass(frozen=True)
class RepairResult:
    """What a search for a repair reports: its images, every trial, and the number of the one taken."""

    calibration_images: int
    selection_images: int
    stability: dict[str, Any] | None
    trials: tuple[TrialResult, ...]
    taken: int

    def details(self) -> dict[str, Any]:
        """Return the result under the keys of an artifact's details."""
        return {
            "mode": self.trials[self.taken].mode,
            **_stability_details(self.stability),
            "calibration_images": self.calibration_images,
            "held_out_images": self.selection_images,
            "repair": self.trials[self.taken].name,
            "rungs": [asdict(trial) for trial in self.trials],
        }


@dataclass(frozen=True)
class QuantizationAwareResult:
    """What the conversion of a quantization-aware model reports: that it was one."""

    def details(self) -> dict[str, Any]:
        """Return the result under the keys of an artifact's details."""
        return {"quantize_aware": True}


QuantizationResult = CalibrationResult | RepairResult | QuantizationAwareResult


@dataclass(frozen=True)
class ConversionResult:
    """What a converter reports on the artifact that it wrote.

    Args:
        mode: mode of the artifact; another than the job's where a repair ended in another.
        quantization: how it was quantized; None for uncalibrated jobs.
        signatures: names of a SavedModel's signatures, sorted; empty for other formats.
        opset: ONNX opset; None for other formats.
    """

    mode: str
    quantization: QuantizationResult | None = None
    signatures: tuple[str, ...] = ()
    opset: int | None = None

    def details(self) -> dict[str, Any]:
        """Return what an artifact's JSON file keeps of this, under the keys that it has there."""
        details: dict[str, Any] = {"signatures": list(self.signatures)} if self.signatures else {}
        if self.opset is not None:
            details["opset"] = self.opset
        return {**details, **(self.quantization.details() if self.quantization else {})}


def _stability_details(stability: dict[str, Any] | None) -> dict[str, Any]:
    return {"stability": stability} if stability else {}


@dataclass(frozen=True)
class WrittenArtifact:
    """A `ConversionResult` as it comes out of another process: mode, and details for the artifact's JSON."""

    mode: str
    details: dict[str, Any]
