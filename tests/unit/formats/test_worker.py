"""The process that converts: it tells of a full disk."""

import errno
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.helpers.conversion_jobs import conversion
from tledge._io import files
from tledge.formats import worker
from tledge.formats.base import ConversionJob


def test_worker_tells_of_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_job: ConversionJob) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files.write_json(tmp_path / "job.json", {"variant": "tflite-fp32", **asdict(conversion(tmp_path).job)})
    known = worker.VARIANTS["tflite-fp32"]
    broken = replace(known, format=replace(known.format, convert=full))
    monkeypatch.setattr(worker, "VARIANTS", {"tflite-fp32": broken})
    found = worker.done(tmp_path / "job.json")
    assert found["kind"] == "ResourceError" and "disk is full" in found["error"]
    (tmp_path / "file").write_text("")  # the result cannot be written either
    assert (
        json.loads(worker.answered(tmp_path / "job.json", tmp_path / "file" / "x"))["kind"] == "ResourceError"
    )
