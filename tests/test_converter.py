"""The process that converts, replaced by small programs: answers, failures, crashes, hangs."""

import sys
from pathlib import Path

import pytest

from tledge.converter import Conversion, Converter
from tledge.errors import ConversionError, DataError, kind_of, told
from tledge.formats.base import Job

HEAD = "import json, os, sys, time\nfor line in sys.stdin:\n    job, result, log = json.loads(line)\n    "


def conversion(folder: Path, timeout: int = 20) -> Conversion:
    job = Job("model.keras", str(folder / "artifacts" / "out"), "fp32", "net", "1", "", ("a", "b"))
    return Conversion("tflite-fp32", job, folder / "logs" / "tflite-fp32.log", timeout)


def program(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr("tledge.converter.COMMAND", (sys.executable, "-c", HEAD + body))


def test_one_process_does_many_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write = "open(result, 'w').write(json.dumps({'details': {'process': os.getpid()}}))"
    program(monkeypatch, f"{write}; print('done', flush=True)")
    with Converter() as converter:
        found = [converter.convert(conversion(tmp_path))["process"] for _ in range(3)]
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


def test_hang_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, "time.sleep(600)")
    with Converter() as converter, pytest.raises(ConversionError, match="more than 1 s and was stopped"):
        converter.convert(conversion(tmp_path, timeout=1))


def test_result_of_an_earlier_job_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "logs" / "tflite-fp32.result.json"
    old.parent.mkdir()
    old.write_text('{"details": {"old": true}}')
    program(monkeypatch, "os._exit(1)")
    with Converter() as converter, pytest.raises(ConversionError, match="exit code 1"):
        converter.convert(conversion(tmp_path))


@pytest.mark.parametrize("name", ["Exception", "Mapping", "told", "NoSuch"])
def test_unknown_kind_is_the_callers(name: str) -> None:
    """Only classes of the error tree are raised, whatever a result names."""
    assert kind_of({"kind": name}, ConversionError) is ConversionError
    assert kind_of(told(DataError("no photos")), ConversionError) is DataError
