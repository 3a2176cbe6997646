"""Models run in another process: what crashes there ends with a sentence here."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import crashing_models, fake_artifacts, fake_device_bundle
from tests.helpers.command_line import Cli
from tledge._io import file_guard
from tledge._process import subprocesses
from tledge.errors import ArtifactError, MissingError
from tledge.inference import predictor
from tledge.inference.predictor import InputChoices
from tledge.preprocessing.scaling import BYTES
from tledge.runtime import sandbox
from tledge.runtime.latency import Minimum
from tledge.runtime.model_file import ModelFile
from tledge.runtime.sandbox import SandboxedSession

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
ZEROS = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_process_of_other_tests() -> Iterator[None]:
    """Each test starts with no process, and leaves none that runs code of its own."""
    sandbox.close_all()
    yield
    sandbox.close_all()


def as_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in the worker's place."""
    monkeypatch.setattr(subprocesses, "worker_command", lambda *_given: [sys.executable, "-c", code])


def opened(content: bytes, name: str = "m.tflite", kernels: str = "xnnpack") -> SandboxedSession:
    session = sandbox.open_session(ModelFile(name, content), kernels)
    assert isinstance(session, SandboxedSession)
    return session


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_session_predicts_as_one_of_this_process(name: str) -> None:
    from tledge.runtime import sessions

    content = fake_artifacts.tflite() if name == "m.tflite" else fake_artifacts.onnx()
    here, there = sessions.open_session(ModelFile(name, content)), opened(content, name)
    images = fake_artifacts.pixels()
    assert np.array_equal(here.run(images), there.run(images))
    assert (here.kernels, here.classes, here.image_size) == (there.kernels, 3, there.image_size)
    assert len(there.latencies(images, Minimum(3, 0))) == 3


def test_all_models_share_one_process() -> None:
    first, second = opened(fake_artifacts.tflite()), opened(fake_artifacts.onnx(), "m.onnx")
    assert first._process is second._process
    number = first._number
    del first
    gc.collect()
    assert list(second._process.closed) == [number]
    assert second.run(ZEROS).shape == (2, 3) and not second._process.closed


def test_opening_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert opened(fake_artifacts.tflite()).run(ZEROS).shape == (2, 3)


def test_worker_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is larger than a pipe holds."""
    as_worker(monkeypatch, CRASH)
    with pytest.raises(ArtifactError, match="SIGSEGV"):
        opened(bytes(3_000_001))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CRASH, "m.tflite: LiteRT with xnnpack kernels crashed (SIGSEGV). Choose other kernels"),
        ("import os; os.abort()", "crashed (SIGABRT)."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGFPE)", "crashed (SIGFPE)."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGBUS)", "crashed (SIGBUS)."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "usually because memory ran out"),
        ("raise SystemExit('why not')", "failed (exit code 1). Its last output: why not"),
        ("print('{', end='')", "failed (exit code 0)"),
        ("input(); print('{\"error\": \"no such\", \"kind\": \"MissingError\", \"bytes\": 0}')", "no such"),
    ],
)  # fmt: skip
def test_every_ending_is_told(code: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, code)
    with pytest.raises(MissingError if words == "no such" else ArtifactError) as told:
        opened(b"model")
    assert words in str(told.value) and "malicious" not in str(told.value)


def test_endless_model_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    as_worker(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(sandbox, "TIMEOUT", 0.3)
    with pytest.raises(ArtifactError, match=r"did not finish within 0\.3 s"):
        opened(b"model")


def test_model_that_is_none_is_told() -> None:
    for model, name in (
        (b"no model", "m.tflite"),
        (b"no model", "m.onnx"),
        (fake_artifacts.tflite()[:300], "m.tflite"),
    ):
        with pytest.raises(ArtifactError, match=name):
            opened(model, name)


def test_next_model_gets_a_new_process() -> None:
    """And a session that was open when another model crashed opens again."""
    open_before = opened(fake_artifacts.tflite())
    flat = opened(crashing_models.many_labels(), kernels="reference")
    with pytest.raises(ArtifactError, match="SIGABRT"):
        flat.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert open_before.run(ZEROS).shape == (2, 3)
    assert opened(fake_artifacts.tflite()).run(ZEROS).shape == (2, 3)


def test_one_family_that_aborts_is_named() -> None:
    """LiteRT's reference int8 softmax ends its process on flat outputs of more than 512 labels."""
    flat, image = crashing_models.many_labels(600), np.zeros((1, 8, 8, 3), np.uint8)
    assert opened(flat).run(image).shape == opened(flat, kernels="builtin").run(image).shape == (1, 600)
    with pytest.raises(ArtifactError) as told:
        opened(flat, kernels="reference").run(image)
    assert "LiteRT with reference kernels crashed (SIGABRT). Their int8 softmax aborts" in str(told.value)
    assert "this model has 600. Choose other kernels" in str(told.value)
    few = opened(crashing_models.many_labels(512 - 1), kernels="reference")
    assert few.run(image).shape == (1, 511)


@pytest.mark.parametrize("family", ["xnnpack", "reference"])
@pytest.mark.parametrize(
    "command", ["predict", "verify", "verify --skew", "compare", "bench", "inspect"]
)  # fmt: skip
def test_model_that_crashes_ends_no_command(command: str, family: str, tmp_path: Path, cli: Cli) -> None:
    """Of a stranger's bundle: a crash in one kernel family is a row or a message, with exit code 4."""
    bundle = crashing_models.bundle(tmp_path / "bundle", family)
    words, *options = command.split()
    more = {"predict": [bundle / "golden" / "00.png"], "compare": [bundle_2(tmp_path)]}.get(words, [])
    kernels = ["--kernels", family] if words != "inspect" else []
    quick = ["--threads", "1"] if words == "bench" else []
    variant = ["--variant", "tflite-int8"] if words in ("compare", "bench") else []
    target = bundle
    if words in ("inspect", "predict"):  # a file without the bundle's labels
        target = (bundle / "tflite-int8.tflite").rename(tmp_path / "m.tflite")
    done = cli(words, target, *more, *options, *kernels, *quick, *variant)
    crashed = done.out + done.err
    assert words == "inspect" or "SIG" in crashed or "LiteRT does not load it" in crashed
    assert done.code == (0 if words == "inspect" else 4), crashed
    if family == "reference" and words not in ("inspect", "verify --skew"):
        assert "int8 softmax aborts where more than 512 labels" in " ".join(crashed.split())
    assert "malicious" not in crashed


def bundle_2(tmp_path: Path) -> Path:
    """Another bundle of the same labels, photos and input."""
    other = fake_device_bundle.make(tmp_path / "other")
    fake_device_bundle.change(other, lambda raw: raw.update(version="2"))
    return other


def test_loose_file_is_opened_elsewhere(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    as_worker(monkeypatch, CRASH)
    done = cli("predict", tmp_path / "m.tflite", "x.jpg")
    assert done.code == 4 and "m.tflite: LiteRT with xnnpack kernels crashed (SIGSEGV)" in done.err


def test_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    own = file_guard.open_file
    monkeypatch.setattr(file_guard, "open_file", lambda path, **more: reads.append(path) or own(path, **more))
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    session = predictor.open_predictor(tmp_path / "m.tflite", choices=InputChoices(BYTES)).session
    (tmp_path / "m.tflite").write_bytes(b"exchanged")
    assert reads == [tmp_path / "m.tflite"] and session.run(ZEROS).shape == (2, 3)


def test_python_that_starts_no_process_opens_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may embed Python; then there is no executable to start."""
    monkeypatch.setattr(sys, "executable", "")
    session = sandbox.open_session(ModelFile("m.tflite", fake_artifacts.tflite()))
    assert not isinstance(session, SandboxedSession) and session.run(ZEROS).shape == (2, 3)
    assert len(sandbox.latencies(session, ZEROS, Minimum(2, 0))) == 2


def test_one_row_is_expected_for_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(fake_artifacts.tflite())

    def flat(*_given: object, **_more: object) -> tuple[dict[str, object], bytes]:
        values: NDArray[np.float32] = np.zeros(3, np.float32)
        return {"shape": [3]}, values.tobytes()

    monkeypatch.setattr(session._process, "ask", flat)
    with pytest.raises(ArtifactError, match=r"returns shape \[3\] for 1 images, expected \[1, classes\]"):
        session.run(ZEROS[:1])


def test_predict_needs_an_answer_for_every_label(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(fake_artifacts.tflite())
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ArtifactError, match="returns 3 values but has 2 labels"):
        predictor.open_predictor(tmp_path / "m.tflite", choices=InputChoices(BYTES))


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
