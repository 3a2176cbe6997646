"""The process that tries a model: its limits, its end, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import fake_artifacts
from tledge._process import subprocesses
from tledge.errors import ArtifactError
from tledge.runtime import sandbox_worker
from tledge.runtime.model_file import ModelFile


def tried(content: bytes, name: str = "m.tflite") -> dict[str, str]:
    """The last line of the worker's output."""
    done = subprocess.run(
        subprocesses.worker_command("runtime.sandbox_worker", name, "xnnpack"),
        input=content, capture_output=True, check=True, env=subprocesses.child_environment(),
    )  # fmt: skip
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.skipif(sys.platform == "win32", reason="its starter's end cannot be seen there")
def test_worker_does_not_outlive_who_waits_for_it() -> None:
    """A model that never answers would keep it at work for ever."""
    command, env = (
        subprocesses.worker_command("runtime.sandbox_worker", "m.tflite", "xnnpack"),
        {subprocesses.PARENT: "1"},
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | env) as worker:
        assert worker.wait(20) == 1


def test_result_is_the_last_line() -> None:
    assert tried(fake_artifacts.tflite()) == {}
    failure = tried(b"no model")
    assert failure["kind"] == "ArtifactError" and "not a TFLite file" in failure["error"]


def test_one_row_is_expected_for_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat:
        image_size = (8, 8)

        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros(3, np.float32)

    monkeypatch.setattr(sandbox_worker.sessions, "open_session", lambda *_: Flat())
    with pytest.raises(ArtifactError, match=r"returns shape \[3\] for one image, expected \[1, classes\]"):
        sandbox_worker.predict_zeros(ModelFile("m.tflite", b""), "xnnpack")
