"""Conversion jobs: every kind as JSON and back, and results under the keys of an artifact's details."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tledge.config import Parity
from tledge.errors import ConversionError
from tledge.formats import jobs
from tledge.formats.jobs import (
    CalibratedJob,
    CalibrationResult,
    ConversionResult,
    ConversionTarget,
    Job,
    MixedPrecisionJob,
    PredictionJob,
    QuantizationAwareJob,
    QuantizationAwareResult,
    RepairJob,
    RepairResult,
    UncalibratedJob,
)
from tledge.formats.registry import VARIANTS
from tledge.quantization.bias_correction import Correction
from tledge.quantization.repair import TrialResult

TARGET = ConversionTarget("/run/model.keras", "/run/out", "int8", "net", "1", "", ("paper", "Ähre"))
LIMITS = Parity(int8_agreement=0.9)
JOBS: list[Job] = [
    UncalibratedJob(TARGET),
    CalibratedJob(TARGET, "/run/calibration.npy"),
    CalibratedJob(TARGET, "/run/calibration.npy", bias_correction=True, uncorrected="/run/plain"),
    RepairJob(TARGET, "/run/calibration.npy", "/run/held_out.npz", LIMITS, True, "/run/plain"),
    MixedPrecisionJob(TARGET, "/run/calibration.npy", "/run/held_out.npz", LIMITS),
    QuantizationAwareJob(TARGET, "/run/ranges.json"),
    PredictionJob(TARGET, "/run/images.npy"),
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
def test_job_comes_back_from_json_as_it_was(job: Job) -> None:
    assert jobs.job_from_json(json.loads(json.dumps(jobs.job_to_json(job)))) == job


def test_every_kind_is_tried() -> None:
    assert {type(job) for job in JOBS} == set(jobs.JOB_KINDS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "float"}, "kind is 'float', expected one of uncalibrated, calibrated, repair"),
        ({"kind": None}, "kind is None"),
        ({"target": {"model": "a"}}, "target.out is missing"),
        ({"calibration_images": None}, "calibration_images is None, expected str"),
        ({"bias_correction": "yes"}, "bias_correction is 'yes', expected bool"),
        ({"ranges": "/run/ranges.json"}, "'ranges' is unknown"),
    ],
)
def test_what_is_no_job_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jobs.job_from_json({**jobs.job_to_json(JOBS[1]), **change})


def test_results_have_the_keys_of_details() -> None:
    """Old runs hold these keys; the report and the command line read them."""
    stability = {"largest": 0.1, "warning": ""}
    calibrated = CalibrationResult(12, stability, (Correction("stem", 0.5),))
    assert ConversionResult("int8", calibrated).details() == {
        "calibration_images": 12,
        "stability": stability,
        "bias_correction": [{"layer": "stem", "largest": 0.5}],
    }
    assert ConversionResult("int8", CalibrationResult(12), opset=17).details() == {
        "opset": 17,
        "calibration_images": 12,
    }
    assert ConversionResult("", signatures=("serve",)).details() == {"signatures": ["serve"]}
    assert ConversionResult("int8", QuantizationAwareResult()).details() == {"quantize_aware": True}
    assert ConversionResult("fp32").details() == {}


def test_repair_result_names_the_candidate_taken() -> None:
    trial = TrialResult("as converted", "int8", 0.9, 0.0, 0.95, 0.9, 100, 1.0, 0.1, "failed", ("low",))
    other = replace(trial, name="2 operators in float", mode="mixed", verdict="passed", reasons=())
    details = RepairResult(12, 40, None, (trial, other), taken=1).details()
    assert (details["mode"], details["repair"]) == ("mixed", "2 operators in float")
    assert (details["calibration_images"], details["held_out_images"]) == (12, 40)
    assert [rung["name"] for rung in details["rungs"]] == ["as converted", "2 operators in float"]


@pytest.mark.parametrize(
    ("variant", "job"),
    [("saved_model", job) for job in JOBS[1:]] + [("onnx-int8", job) for job in JOBS[3:]],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_format_refuses_jobs_that_it_does_not_have(variant: str, job: Job) -> None:
    with pytest.raises(ConversionError, match=rf"has no {type(job).__name__}; expected UncalibratedJob"):
        VARIANTS[variant].format.convert(job)
