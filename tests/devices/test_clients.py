"""Software that nobody here wrote opens a bundle's files as they lie, and answers as tledge does.

MediaPipe and OpenCV live in an environment of their own, kept in `TLEDGE_CLIENTS` (default:
`.cache/clients`), at the versions of `clients/constraints.txt`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.paths import ROOT
from tledge._io import files
from tledge.bundle.manifest import Manifest, Shipped
from tledge.bundle.reader import open_bundle
from tledge.formats.tflite_metadata_writer import write_metadata
from tledge.inference.predict import predict
from tledge.inference.predictor import open_predictor

pytestmark = pytest.mark.slow

SCRIPTS = ROOT / "tests" / "devices" / "clients"
VERSIONS = SCRIPTS / "constraints.txt"
WANTED = ("tflite-fp16", "tflite-dynamic", "tflite-mixed", "tflite-int16x8", "onnx-fp16")
LIBRARIES = "libegl1 libgl1 libgles2 libglib2.0-0 libxcb1"
"""Debian packages that OpenCV and MediaPipe load at run time."""

REFUSED = {"tflite-int16x8": "input"}
"""What MediaPipe does not take, by a word of what it says: 16-bit numbers are no pixels to it."""


@pytest.fixture(scope="module")
def python() -> Path:
    """Python of the environment with the clients; skips where they cannot be had, fails in CI."""
    cache = Path(os.environ.get("TLEDGE_CLIENTS", ROOT / ".cache" / "clients"))
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / files.sha256(VERSIONS)[:12]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            install(made)
            (made / "complete").touch()
    require_system_libraries(made / "bin" / "python")
    return made / "bin" / "python"


def install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--requirement", VERSIONS], capture_output=True, text=True, check=False)
    if done.returncode and not os.environ.get("TLEDGE_CI"):
        pytest.skip(f"MediaPipe and OpenCV cannot be installed: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr


def require_system_libraries(python: Path) -> None:
    """Skip where the system lacks libraries that both load, and fail in CI."""
    done = subprocess.run(
        [python, "-c", "import cv2, mediapipe"], capture_output=True, text=True, check=False
    )
    reason = f"{done.stderr.strip().rpartition(chr(10))[2]}. On Debian: sudo apt-get install {LIBRARIES}"
    if done.returncode and "cannot open shared object file" in reason and "TLEDGE_CI" not in os.environ:
        pytest.skip(reason)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def bundle(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of every TFLite variant, also of those that failed: here, only what opens them counts."""
    run = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("clients") / "small"))
    variants = [word for name in WANTED for word in ("--variant", name)]
    command = [sys.executable, "-m", "tledge", "export", run, "--int8", *variants, "--unverified", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run / "bundle" / "tflite-int16x8.tflite").is_file(), done.stdout + done.stderr
    return run / "bundle"


def shipped(bundle: Path, suffix: str) -> list[Shipped]:
    manifest = open_bundle(bundle).manifest
    return [one for one in manifest.artifacts if one.path.endswith(suffix)]


def client(python: Path, script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [python, SCRIPTS / script, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ""}
    )


def mediapipe(python: Path, bundle: Path, variant: Shipped, out: Path, *photos: Path) -> Any:
    pixels, labels = bundle / "golden" / "pixels.npy", bundle / "labels.txt"
    done = client(python, "mediapipe_answers.py", bundle / variant.path, pixels, labels, out, *photos)
    return done if done.returncode else (np.load(out), done.stdout.split("\n")[:-1])


def photos_of(bundle: Path, manifest: Manifest) -> list[Path]:
    return [bundle / "golden" / one.photo for one in manifest.photos]


def predicted(bundle: Path, variant: str, photos: list[Path]) -> list[str]:
    answers = predict(open_predictor(bundle, variant), photos, 1)
    return [one.predictions[0].label for one in answers]


def expected(bundle: Path, variant: Shipped, kernels: str) -> Any:
    found = next(one for one in variant.expected if one.kernels == kernels)
    return np.load(bundle / found.path)


def test_mediapipe_answers_as_tledge(python: Path, bundle: Path, tmp_path: Path) -> None:
    manifest = open_bundle(bundle).manifest
    photos = [bundle / "golden" / one.photo for one in manifest.golden]
    rows = [one.tensor for one in manifest.golden]
    for variant in shipped(bundle, ".tflite"):
        found = mediapipe(python, bundle, variant, tmp_path / "out.npy")
        if variant.variant in REFUSED:
            assert REFUSED[variant.variant] in found.stderr
            continue
        assert isinstance(found, tuple), f"{variant.variant}: {found.stderr[-2000:]}"
        best = [manifest.labels[number] for number in found[0].argmax(1)[rows]]
        assert best == predicted(bundle, variant.variant, photos), variant.variant
        assert len(set(best)) > 1
        np.testing.assert_allclose(found[0], expected(bundle, variant, "xnnpack"), atol=1e-4)


def test_mediapipe_reads_photos_itself(python: Path, bundle: Path, tmp_path: Path) -> None:
    """It resizes without antialiasing, so one answer in four may be another."""
    photos = photos_of(bundle, open_bundle(bundle).manifest)
    for variant in shipped(bundle, ".tflite"):
        if variant.variant in ("tflite-fp32", "tflite-int8"):
            _, best = mediapipe(python, bundle, variant, tmp_path / "out.npy", *photos)
            same = [a == b for a, b in zip(best, predicted(bundle, variant.variant, photos), strict=True)]
            assert np.mean(same) >= 0.75


def test_labels_in_another_order_are_seen(python: Path, bundle: Path, tmp_path: Path) -> None:
    names = (bundle / "labels.txt").read_text().splitlines()
    (tmp_path / "labels.txt").write_text("\n".join(names[::-1]) + "\n")
    (variant,) = (one for one in shipped(bundle, ".tflite") if one.variant == "tflite-fp32")
    pixels, out = bundle / "golden" / "pixels.npy", tmp_path / "out.npy"
    done = client(python, "mediapipe_answers.py", bundle / variant.path, pixels, tmp_path / "labels.txt", out)
    assert done.returncode == 0, done.stderr
    assert np.abs(np.load(out) - expected(bundle, variant, "xnnpack")).max() > 0.1


def test_opencv_reads_float_tflite_alone(python: Path, bundle: Path, tmp_path: Path) -> None:
    """What the README says; should OpenCV learn integers, the README may say so."""
    for variant in shipped(bundle, ".tflite"):
        out, pixels = tmp_path / f"{variant.variant}.npy", bundle / "golden" / "pixels.npy"
        done = client(python, "opencv_answers.py", bundle / variant.path, pixels, out)
        wanted = expected(bundle, variant, "xnnpack")[:1]
        right = not done.returncode and np.abs(np.load(out) - wanted).max() <= variant.expected[0].tolerance
        assert right == (variant.variant in ("tflite-fp32", "tflite-fp16")), variant.variant


def test_opencv_answers_as_onnx_runtime(python: Path, bundle: Path, tmp_path: Path) -> None:
    """Float files only: OpenCV opens onnx-int8 too, and rounds in ways of its own."""
    for variant in shipped(bundle, ".onnx"):
        out = tmp_path / "out.npy"
        done = client(
            python, "opencv_answers.py", bundle / variant.path, bundle / "golden" / "pixels.npy", out
        )
        assert done.returncode == 0, f"{variant.variant}: {done.stderr[-2000:]}"
        wanted = expected(bundle, variant, "onnxruntime-cpu")
        tolerance = variant.expected[0].tolerance
        np.testing.assert_allclose(np.load(out), wanted, atol=tolerance)
        np.testing.assert_allclose(np.load(tmp_path / "out.one.npy"), wanted, atol=tolerance)


SIDE, PHOTOS = 32, 120
COLOURS = ("red", "green", "blue")


def colour_photos() -> NDArray[np.uint8]:
    """Noise around a colour: uint8[120, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (PHOTOS, 1, 1, 3))
    noise = rng.integers(-30, 31, (PHOTOS, SIDE, SIDE, 3))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def colour_network() -> Any:
    """The mean colour decides, of pixels that are scaled to -1..1 outside of the model."""
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(image))
    net = keras.Model(image, keras.layers.Dense(3, activation="softmax")(pooled))
    rng = np.random.default_rng(1)
    kernel, bias = np.repeat(np.eye(3, 8)[None, None] / 9, 3, 0).repeat(3, 1), np.full(8, 1.0)
    net.set_weights([kernel, bias, rng.normal(0, 0.1, (8, 3)) + 4 * np.eye(8, 3), np.zeros(3)])
    return net


def converted(net: Any, dtype: str) -> bytes:
    """Convert as a tutorial does, and describe the input in the metadata."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    if dtype != "float32":
        scaled = colour_photos().astype(np.float32) / 127.5 - 1
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one[None]] for one in scaled)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, dtype)
    texts = {"name": "colours", "description": "Of another tool.", "version": "1"}
    return write_metadata(converter.convert(), **texts, labels=COLOURS, mean=127.5, std=127.5)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_mediapipe_predicts_files_of_others_as_tledge(python: Path, tmp_path: Path) -> None:
    """MediaPipe takes bytes and floats; it refuses int8 inputs, which tledge predicts as the uint8 file."""
    pixels, net = colour_photos(), colour_network()
    np.save(tmp_path / "pixels.npy", pixels)
    (tmp_path / "labels.txt").write_text("\n".join(COLOURS) + "\n")
    own = {"keras": net.predict(pixels / 127.5 - 1, verbose=0).argmax(1)}
    for dtype in ("float32", "uint8", "int8"):
        model = tmp_path / f"{dtype}.tflite"
        model.write_bytes(converted(net, dtype))
        answers = predict(open_predictor(model), list(pixels), 1)
        own[dtype] = np.array([COLOURS.index(answer.best.label) for answer in answers])
        places = (model, tmp_path / "pixels.npy", tmp_path / "labels.txt", tmp_path / "out.npy")
        done = client(python, "mediapipe_answers.py", *places)
        if dtype == "int8":
            assert "got INT8" in done.stderr
            continue
        assert done.returncode == 0, f"{dtype}: {done.stderr[-1000:]}"
        theirs = np.load(tmp_path / "out.npy").argmax(1)
        assert (own[dtype] == theirs).mean() >= 0.99, dtype
    assert len(set(own["float32"].tolist())) == 3
    assert (own["float32"] == own["keras"]).mean() >= 0.99
    assert (own["int8"] == own["uint8"]).mean() >= 0.99
