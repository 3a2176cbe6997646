"""A model is tried in another process first: what crashes there ends with a sentence here."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fake_artifacts, fake_device_bundle
from tests.helpers.command_line import Cli
from tests.helpers.fake_device_bundle import change, write_sums
from tledge._io import file_guard
from tledge._process import subprocesses
from tledge.errors import ArtifactError
from tledge.inference import predictor
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelFile

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried before does not count."""
    monkeypatch.setattr(sandbox, "_passed", set())


def as_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in the worker's place."""
    monkeypatch.setattr(subprocesses, "worker_command", lambda *_given: [sys.executable, "-c", code])


def test_good_models_pass() -> None:
    sandbox.try_model(ModelFile("m.tflite", fake_artifacts.tflite()))
    sandbox.try_model(ModelFile("m.onnx", fake_artifacts.onnx()))
    assert len(sandbox._passed) == 2


def test_trying_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    sandbox.try_model(ModelFile("m.tflite", fake_artifacts.tflite()))


def test_model_larger_than_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    count = "import sys; print(len(sys.stdin.buffer.read()) == 3_000_000 and '{}')"
    as_worker(monkeypatch, count)
    sandbox.try_model(ModelFile("m.tflite", bytes(3_000_000)))
    as_worker(monkeypatch, CRASH)  # reads nothing
    with pytest.raises(ArtifactError, match="SIGSEGV"):
        sandbox.try_model(ModelFile("m.tflite", bytes(3_000_001)))


def test_model_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fake_artifacts.tflite()
    sandbox.try_model(ModelFile("m.tflite", model))
    as_worker(monkeypatch, CRASH)
    sandbox.try_model(ModelFile("m.tflite", model))
    with pytest.raises(ArtifactError):
        sandbox.try_model(ModelFile("m.tflite", model), "reference")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CRASH, "m.tflite: crashes the runtime that opens it (SIGSEGV)"),
        ("import os; os.abort()", "(SIGABRT)"),
        ("raise SystemExit('why not')", "could not be tried (exit code 1). why not"),
        ("print('{}')", ""),
        ("print()", "could not be tried (exit code 0)"),
        ('print(\'{"error": "no such", "kind": "MissingError"}\')', "no such"),
    ],
)
def test_every_ending_is_told(code: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, code)
    try:
        sandbox.try_model(ModelFile("m.tflite", b"model"))
    except Exception as error:
        assert words and words in str(error)
        assert type(error).__name__ == ("MissingError" if words == "no such" else "ArtifactError")
    else:
        assert not words


def test_endless_model_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(sandbox, "TIMEOUT", 0.3)
    with pytest.raises(ArtifactError, match="does not open and predict within"):
        sandbox.try_model(ModelFile("m.tflite", b"model"))


def test_model_that_is_none_is_told() -> None:
    for model, name in (
        (b"no model", "m.tflite"),
        (b"no model", "m.onnx"),
        (fake_artifacts.tflite()[:300], "m.tflite"),
    ):
        with pytest.raises(ArtifactError, match=name):
            sandbox.try_model(ModelFile(name, model))


def crashing() -> bytes:
    """A whole flatbuffer of scales that are 0, on which XNNPACK ends with a segmentation fault."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(fake_device_bundle.tflite(integers=True), 0)
    for one in model.subgraphs[0].tensors:
        if one.quantization and one.quantization.scale is not None:
            one.quantization.scale = [0.0]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_model_that_crashes_litert_is_told(tmp_path: Path, cli: Cli) -> None:
    """Should LiteRT learn to refuse it, it says so itself."""
    (tmp_path / "m.tflite").write_bytes(crashing())
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    done = cli("predict", tmp_path / "m.tflite", "x.jpg")
    assert done.code == 4 and "m.tflite: " in done.err
    assert "crashes the runtime that opens it (SIGSEGV)" in done.err or "LiteRT does not load it" in done.err


def test_loose_file_is_tried(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    as_worker(monkeypatch, CRASH)
    done = cli("predict", tmp_path / "m.tflite", "x.jpg")
    assert done.code == 4 and "m.tflite: crashes the runtime that opens it (SIGSEGV)" in done.err


def test_bytes_that_were_tried_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loose file that is exchanged after it was tried is not read again."""
    file = tmp_path / "m.tflite"
    file.write_bytes(fake_artifacts.tflite())
    monkeypatch.setattr(sandbox, "try_model", lambda *_: file.write_bytes(b"exchanged"))
    assert predictor.open_predictor(file).session.run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)
    assert file.read_bytes() == b"exchanged"


def test_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    own = file_guard.open_file
    monkeypatch.setattr(file_guard, "open_file", lambda path, **more: reads.append(path) or own(path, **more))
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    predictor.open_predictor(tmp_path / "m.tflite")
    assert reads == [tmp_path / "m.tflite"]


def test_bundle_is_tried(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = fake_device_bundle.make(tmp_path / "bundle")
    photo = next((bundle / "golden").glob("*.png"))
    as_worker(monkeypatch, CRASH)
    for arguments in (("predict", bundle, photo), ("verify", bundle), ("verify", bundle, "--skew")):
        done = cli(*arguments)
        assert done.code == 4 and "SIGSEGV" in done.out + done.err, arguments
    done = cli("compare", bundle, copy_of(bundle, tmp_path))
    assert done.code == 4 and "SIGSEGV" in done.out + done.err


def copy_of(bundle: Path, tmp_path: Path) -> Path:
    """Another bundle of the same photos."""
    other = fake_device_bundle.make(tmp_path / "other")
    change(other, lambda raw: raw.update(version="2"))
    write_sums(other)
    return other


def test_predict_needs_an_answer_for_every_label(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ArtifactError, match="returns 3 values but has 2 labels"):
        predictor.open_predictor(tmp_path / "m.tflite")


def test_workers_import_nothing_from_where_one_is() -> None:
    assert subprocesses.worker_command("a", 1)[1:] == ["-P", "-m", "tledge.a", "1"]


@pytest.mark.parametrize("place", ["/etc/passwd", "../../../../../../../../etc/passwd", "/dev/zero"])
def test_weights_elsewhere_are_not_read(place: str, tmp_path: Path, cli: Cli) -> None:
    """An ONNX file may say that its weights lie in another one."""
    library = pytest.importorskip("onnx")
    model = library.ModelProto.FromString(fake_artifacts.onnx())
    weights = model.graph.initializer[0]
    facts = {"location": place, "offset": "0", "length": str(len(weights.raw_data))}
    weights.ClearField("raw_data")
    weights.data_location = library.TensorProto.EXTERNAL
    for key, value in facts.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for arguments in (("predict", tmp_path / "m.onnx", "x.jpg"), ("inspect", tmp_path / "m.onnx")):
        done = cli(*arguments)
        assert done.code == 4 and "m.onnx" in done.err


@pytest.mark.parametrize("text", ["null", "{}", '"abc"', "[" * 100_000, "["])
def test_labels_that_are_no_list_are_told(text: str, tmp_path: Path, cli: Cli) -> None:
    library = pytest.importorskip("onnx")
    model = library.ModelProto.FromString(fake_artifacts.onnx())
    entry = model.metadata_props.add()
    entry.key, entry.value = "labels", text
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    done = cli("inspect", tmp_path / "m.onnx")
    assert done.code == 4 and "its property `labels` is not a JSON list" in done.err


@pytest.mark.parametrize("command", ["predict", "bench"])
def test_onnxruntime_keeps_no_record_of_its_use(command: str, tmp_path: Path) -> None:
    """Where it may tell its maker, it leaves an identity below the home folder and a file in the scratch."""
    bundle, home = fake_artifacts.bundle(tmp_path / "made"), tmp_path / "home"
    home.mkdir()
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    options = {"predict": (photo,), "bench": ("--threads", "1")}
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-m", "tledge", command, bundle, "--variant", "onnx-fp32", *options[command]],
        env=env | {"HOME": str(home), "TMPDIR": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in home.rglob("*")] == []
