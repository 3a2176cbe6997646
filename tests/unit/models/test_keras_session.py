"""The process that holds a run's Keras model: it predicts, refuses, and its end is told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tledge._process import subprocesses
from tledge.errors import MissingError, RunError
from tledge.models import keras_session
from tledge.models.keras_session import KerasSession

WORKER = """
import sys, json, numpy as np
from tledge._process import limited_child
limited_child.enter()
print("{}", flush=True)
while line := sys.stdin.buffer.readline():
    shape = json.loads(line)
    images = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    print(json.dumps({"probabilities": images[:, 0, 0].tolist()}), flush=True)
"""

IMAGES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def as_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in the worker's place."""
    monkeypatch.setattr(subprocesses, "worker_command", lambda *_given: [sys.executable, "-c", code])


def test_images_are_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, WORKER)
    session = KerasSession(tmp_path / "model.keras")
    for _ in range(2):
        assert np.array_equal(session.run(IMAGES), IMAGES[:, 0, 0].astype(np.float32))
    session._process.kill()
    session._process.wait()
    with pytest.raises(RunError, match=r"model.keras: the process that opened it (ended|does not reply)"):
        session.run(IMAGES)
    session.close()
    with pytest.raises(RunError, match="does not reply any more"):
        session.run(IMAGES)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ('print(\'{"error": "no such", "kind": "MissingError"}\')', MissingError, "no such"),
        ("raise SystemExit(3)", RunError, r"model.keras: the process that opened it ended \(3\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", RunError, r"ended \(-11\)"),
        ("import time; time.sleep(60)", RunError, "does not reply within 0.5 s"),
    ],
)
def test_every_ending_is_told(
    code: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_worker(monkeypatch, code)
    if "sleep" in code:
        monkeypatch.setattr(keras_session, "OPENING", 0.5)
    with pytest.raises(error, match=words):
        KerasSession(tmp_path / "model.keras")


def test_prediction_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, "import time; print('{}', flush=True); time.sleep(60)")
    monkeypatch.setattr(keras_session, "PREDICTING", 0.3)
    session = KerasSession(tmp_path / "model.keras")
    with pytest.raises(RunError, match=r"does not reply within 0\.3 s"):
        session.run(IMAGES)
    assert session._process.wait(10) == -9
    session.close()


@pytest.mark.parametrize("reply", ["none", "[]", "{}", '{"probabilities": {}}'])
def test_reply_of_another_form_is_told(reply: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, f"print('{{}}', flush=True)\ninput()\nprint('{reply}', flush=True)")
    session = KerasSession(tmp_path / "model.keras")
    with pytest.raises(RunError, match="does not reply any more"):
        session.run(IMAGES)
    session.close()


@pytest.mark.slow(minutes=0.1)  # the process imports TensorFlow
def test_file_is_refused_by_the_worker_itself(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    (tmp_path / "model.keras").write_bytes(b"none")
    with pytest.raises(RunError, match=r"model.keras: refused, because File is not a zip file"):
        KerasSession(tmp_path / "model.keras")
