"""One measurement in its own process: peak memory, random images, what the worker writes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.clockwork import MS, Clockwork
from tledge.errors import ArtifactError
from tledge.inference import bench_worker as worker
from tledge.inference.bench_worker import MeasurementJob, measure, peak_mib, random_images
from tledge.runtime.latency import Minimum

NOW = Minimum(1, 0.0)


def test_warm_up_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = Clockwork(50.0, 1.0, 1.0, 1.0, 5.0)  # the first is slow, as first queries are
    np.save(tmp_path / "images.npy", fake_artifacts.pixels())

    def load(*_arguments: object) -> Clockwork:
        session.now += 20 * MS
        return session

    monkeypatch.setattr(worker.sessions, "open_session", load)
    images = str(tmp_path / "images.npy")
    found = measure(MeasurementJob("a.tflite", images, "xnnpack", 1, NOW, Minimum(4, 0.0)), session.clock)
    assert (found.load_ms, found.p50_ms, found.p99_ms, found.queries) == (20.0, 1.0, 5.0, 4)
    assert found.seconds == 0.008 and found.images_per_second == 500.0


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_real_session_is_measured(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tiny{suffix}"
    file.write_bytes(fake_artifacts.tflite() if suffix == ".tflite" else fake_artifacts.onnx())
    images = ""
    if suffix == ".tflite":
        np.save(tmp_path / "images.npy", fake_artifacts.pixels())
        images = str(tmp_path / "images.npy")
    found = measure(MeasurementJob(str(file), images, "xnnpack", 1, NOW, Minimum(20, 0.0)))
    assert found.queries == 20 and found.load_ms > 0
    assert 0 < found.p50_ms <= found.p90_ms <= found.p99_ms
    assert 0 < found.images_per_second <= 20_000 / found.p50_ms


def test_random_images_repeat_and_fit(tmp_path: Path) -> None:
    from tledge.runtime.sessions import LiteRTSession

    session = LiteRTSession(fake_artifacts.tflite(), "tiny.tflite")
    first, second = random_images(session), random_images(session)
    assert first.shape[1:] == (8, 8, 3) and first.dtype == np.uint8 and first.std() > 50
    assert np.array_equal(first, second)
    session.input_shape = (1, 40)
    with pytest.raises(ArtifactError, match=r"the model's input has shape \[1, 40\], expected an RGB image"):
        random_images(session)


def test_peak_is_of_this_process_alone() -> None:
    """A large process starts a small one: what the first had must not count for the second."""
    ballast = np.ones(400 << 17)  # 400 MiB
    code = "from tledge.inference.bench_worker import peak_mib; print(peak_mib())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ballast.nbytes == 400 << 20
    assert 3 < float(done.stdout) < 200


def test_peak_grows_with_memory() -> None:
    code = (
        "from tledge.inference.bench_worker import peak_mib; a = peak_mib(); "
        "b = bytearray(b'1') * (64 << 20); del b; print(peak_mib() - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 60 < float(done.stdout) < 70


def test_peak_without_proc(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n")
    assert peak_mib(tmp_path / "status") == 2.0
    fallback = peak_mib(tmp_path / "none")
    assert fallback is not None and 3 < fallback < 1 << 20


def test_worker_writes_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(fake_artifacts.tflite())
    (tmp_path / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(500))
    answers = {}
    for name in ("tiny", "bad"):
        job = MeasurementJob(str(tmp_path / f"{name}.tflite"), "", "xnnpack", 1, NOW, NOW)
        (tmp_path / "job.json").write_text(json.dumps(asdict(job)))
        code = worker.main(str(tmp_path / "job.json"), str(tmp_path / "result.json"))
        answers[name] = (code, json.loads((tmp_path / "result.json").read_text()))
    assert answers["tiny"][0] == 0 and answers["tiny"][1]["reading"]["queries"] == 1
    assert answers["bad"][0] == 1 and answers["bad"][1]["kind"] == "ArtifactError"
    assert "bad.tflite" in answers["bad"][1]["error"]
