"""The process that opens models: its requests, its end, and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tledge._process import subprocesses
from tledge.runtime import sandbox_worker
from tledge.runtime.sandbox_worker import Server

OPEN = {"do": "open", "name": "m.tflite", "kernels": "xnnpack", "sessions": 1, "close": []}
IMAGE = np.zeros((1, 8, 8, 3), np.uint8)
RUN = {"do": "run", "number": 1, "shape": IMAGE.shape, "close": []}


@pytest.mark.skipif(sys.platform == "win32", reason="its starter's end cannot be seen there")
def test_worker_does_not_outlive_who_waits_for_it() -> None:
    """A model that never answers would keep it at work for ever."""
    command, env = subprocesses.worker_command("runtime.sandbox_worker"), {subprocesses.PARENT: "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | env) as worker:
        assert worker.wait(20) == 1


def test_worker_ends_with_its_requests() -> None:
    done = subprocess.run(
        subprocesses.worker_command("runtime.sandbox_worker"),
        input=b"", capture_output=True, check=True, env=subprocesses.child_environment(),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"", b"")


def test_failure_is_a_reply() -> None:
    reply, content = Server(sandbox_worker.open_file, {}).reply(OPEN, b"no model")
    assert reply["kind"] == "ArtifactError" and "not a TFLite file" in reply["error"] and not content


def test_model_that_needs_too_much_memory_is_a_reply() -> None:
    def no_memory(*_given: object) -> None:
        raise MemoryError

    reply, _content = Server(no_memory, {}).reply(OPEN, b"")  # type: ignore[arg-type]
    assert "does not fit into memory" in reply["error"]


@pytest.mark.parametrize("sessions", [1, 3])
def test_opened_session_runs_until_it_is_closed(sessions: int) -> None:
    server = Server(sandbox_worker.open_file, {})
    opened, _content = server.reply({**OPEN, "sessions": sessions}, fake_artifacts.tflite())
    assert opened["number"] == 1 and opened["classes"] == 3 and not opened["is_integer"]
    reply, content = server.reply(RUN, IMAGE.tobytes())
    assert reply["shape"] == (1, 3) and len(content) == 12
    with pytest.raises(KeyError):
        server.reply({**RUN, "close": [1]}, IMAGE.tobytes())
