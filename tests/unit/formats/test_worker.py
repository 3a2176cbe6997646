"""The process that converts: it tells of a full disk."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.conversion_jobs import conversion
from tledge._io import files
from tledge.formats import worker
from tledge.formats.jobs import ConversionJob, job_to_json


def test_worker_tells_of_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_job: ConversionJob) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job = job_to_json(conversion(tmp_path).job)
    files.write_json(tmp_path / "job.json", {"variant": "tflite-fp32", **job})
    known = worker.VARIANTS["tflite-fp32"]
    broken = replace(known, format=replace(known.format, convert=full))
    monkeypatch.setattr(worker, "VARIANTS", {"tflite-fp32": broken})
    found = worker.result_of(tmp_path / "job.json")
    assert found["kind"] == "ResourceError" and "a disk or a quota is full" in found["error"]
    (tmp_path / "file").write_text("")  # the result cannot be written either
    assert json.loads(worker.reply(tmp_path / "job.json", tmp_path / "file" / "x"))["kind"] == "ResourceError"
