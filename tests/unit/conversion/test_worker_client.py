"""The process that converts, replaced by small programs: answers, failures, crashes, hangs."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.helpers.conversion_jobs import conversion
from tledge.conversion.worker_client import Converter
from tledge.errors import ConversionError, DataError, ResourceError

HEAD = "import json, os, sys, time\nfor line in sys.stdin:\n    job, result, log = json.loads(line)\n    "


def program(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr("tledge.conversion.worker_client.COMMAND", (sys.executable, "-c", HEAD + body))


def test_one_process_does_many_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write = "open(result, 'w').write(json.dumps({'mode': 'fp32', 'details': {'process': os.getpid()}}))"
    program(monkeypatch, f"{write}; print('done', flush=True)")
    with Converter() as converter:
        found = [converter.convert(conversion(tmp_path)).details["process"] for _ in range(3)]
    assert len(set(found)) == 1


def test_explained_failure_keeps_its_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = "{'error': 'no images', 'kind': 'DataError'}"
    program(monkeypatch, f"open(result, 'w').write(json.dumps({result})); print('done', flush=True)")
    with Converter() as converter, pytest.raises(DataError, match=r"tflite-fp32: no images Log: .*\.log"):
        converter.convert(conversion(tmp_path))


def test_crash_names_signal_and_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, "open(log, 'a').write('wild pointer\\n'); os.kill(os.getpid(), 11)")
    with Converter() as converter, pytest.raises(ConversionError, match=r"(?s)SIGSEGV.*wild pointer"):
        converter.convert(conversion(tmp_path))


def test_job_after_a_crash_is_refused_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, "os._exit(7)")
    with Converter() as converter:
        for _ in range(2):
            with pytest.raises(ConversionError, match="exit code 7"):
                converter.convert(conversion(tmp_path))


def test_killed_one_leaves_no_scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    program(monkeypatch, "import tempfile; open(log, 'w').write(tempfile.mkdtemp()); time.sleep(600)")
    with Converter() as converter, pytest.raises(ConversionError, match="took more than 1 s"):
        converter.convert(conversion(tmp_path, timeout=1))
    made = Path((tmp_path / "logs" / "tflite-fp32.log").read_text())
    assert made.is_relative_to(tmp_path / "scratch") and not list((tmp_path / "scratch").iterdir())


def test_hang_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, "time.sleep(600)")
    with Converter() as converter, pytest.raises(ConversionError, match="more than 1 s and was stopped"):
        converter.convert(conversion(tmp_path, timeout=1))


def test_stopped_process_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stopped, it does not even hear that it should end; nothing of it may stay."""
    program(monkeypatch, "open(log, 'a').write(str(os.getpid())); os.kill(os.getpid(), 19)")
    with Converter() as converter, pytest.raises(ConversionError, match="more than 1 s and was stopped"):
        converter.convert(conversion(tmp_path, timeout=1))
    with pytest.raises(ProcessLookupError):
        os.kill(int(conversion(tmp_path).log.read_text()), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="no such limit here")
def test_little_memory_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, "os.dup2(os.open(log, os.O_WRONLY), 2); bytearray(400 << 20)")
    wanted = r"(?s)ran out of memory \(exit code 1\).*memory_mib.*MemoryError.*Log: "
    with Converter(memory_mib=200) as converter, pytest.raises(ConversionError, match=wanted):
        converter.convert(conversion(tmp_path))


def test_result_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"error": "the disk is full", "kind": "ResourceError"}
    program(monkeypatch, f"print(json.dumps({told!r}), flush=True)")
    with Converter() as converter, pytest.raises(ResourceError, match="tflite-fp32: the disk is full"):
        converter.convert(conversion(tmp_path))


def test_result_of_an_earlier_job_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "logs" / "tflite-fp32.result.json"
    old.parent.mkdir()
    old.write_text('{"mode": "fp32", "details": {"old": true}}')
    program(monkeypatch, "os._exit(1)")
    with Converter() as converter, pytest.raises(ConversionError, match="exit code 1"):
        converter.convert(conversion(tmp_path))
