"""The quantize-aware stage: what it learns and leaves alone, how it repeats, what export makes of it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.command_line import Cli
from tests.helpers.fake_models import calibrate, small_net
from tests.helpers.recipes import drawn, tiny_recipe
from tledge._io import files
from tledge.errors import DataError, RecipeError
from tledge.formats.jobs import CalibratedJob, ConversionJob, ConversionTarget, QuantizationAwareJob
from tledge.models import classifier
from tledge.progress import SILENT
from tledge.quantization import quantization_aware
from tledge.recipe import definition, loader
from tledge.training import accelerators, batch_partition, batches, checkpoint, distillation, stage

pytestmark = pytest.mark.slow(minutes=1)
RECIPE = tiny_recipe(
    drawn(240, 90, 32),
    """name = "all"
epochs = 6
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.5
learning_rate = 4e-3
restore_best = false
[[stage]]
name = "in 8 bits"
quantize_aware = true
epochs = 12
unfreeze = "all"
learning_rate = 2e-4
schedule = "cosine"
[parity]
int8_agreement = 0.8
int8_accuracy = 0.8
max_drop = 0.2
max_class_drop = 0.5
[export]
variants = ["tflite-fp32"]""",
    share=0.2,
)


def asked(**keys: Any) -> definition.Recipe:
    """The recipe, its last stage changed."""
    made = loader.parse(RECIPE, "r.toml")
    return replace(made, stage=(made.stage[0], replace(made.stage[1], **keys)))


def gradients(count: int, seed: int) -> NDArray[np.uint8]:
    """Images that differ in colour and slope: uint8[count, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-1, 1, 32)
    down, right = (rng.normal(size=(count, 1, 1, 3)) * 60 for _ in range(2))
    waves = 50 * np.sin(rng.uniform(2, 20, (count, 1, 1, 1)) * ramp[None, :, None, None])
    flat = rng.uniform(60, 200, (count, 1, 1, 3))
    made = flat + down * ramp[None, :, None, None] + right * ramp[None, None, :, None] + waves
    return np.clip(made, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def teacher() -> Any:
    """A net whose answers differ, with large weights on channels that are always 0: they round the others."""
    net = small_net()
    calibrate(net, gradients(64, 0).astype(np.float32))
    kernel, bias = net.get_layer("logits").get_weights()
    net.get_layer("logits").set_weights([6 * kernel, bias])
    for number in range(1, 5):
        norm = net.get_layer(f"block_{number}_conv_BN")
        gamma, beta, *rest = norm.get_weights()
        gamma[0], beta[0] = 0, -1  # behind ReLU the channel is dead
        norm.set_weights([gamma, beta, *rest])
        follower = net.get_layer(f"block_{number + 1}_conv")
        norm = net.get_layer(f"block_{number + 1}_depthwise_BN")
        gamma, beta, *rest = norm.get_weights()
        gamma[0], beta[0] = 0, -1
        norm.set_weights([gamma, beta, *rest])
        (kernel,) = follower.get_weights()
        kernel[0, 0, 0] = 24 * np.abs(kernel).max()
        follower.set_weights([kernel])
    return net


def lesson(net: Any, examples: batches.Examples, **keys: Any) -> distillation.DistillationSetup:
    wanted = asked(**keys)
    return distillation.set_up_distillation(wanted, wanted.stage[1], net, examples, accelerators.PLAIN)


def examples(count: int, seed: int) -> batches.Examples:
    labels = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    return batches.Examples(gradients(count, seed), labels, np.arange(count))


def learn(made: distillation.DistillationSetup, folder: Path, **keys: Any) -> checkpoint.State:
    state = checkpoint.State(stage=1)
    stage.fit(
        made.network, asked(**keys).stage[1], state, examples(256, 1), examples(128, 2),
        seed=0, checkpoint=folder / "state.npz", progress=SILENT,
    )  # fmt: skip
    return state


def integers(net: Any, folder: Path, job: Callable[[ConversionTarget], ConversionJob]) -> NDArray[np.float32]:
    """What the int8 file of a net answers to images that were never learned from."""
    from tledge.formats.tflite import convert
    from tledge.runtime.session_pool import run_on_all_cores

    classifier.save(net, folder / "net.keras")
    out = folder / "net.tflite"
    model = str(folder / "net.keras")
    convert(job(ConversionTarget(model, str(out), "int8", "n", "1", "", ("a", "b", "c"))))
    return run_on_all_cores(out.read_bytes(), "net", gradients(400, 3))


def test_student_agrees_more_than_calibrated(teacher: Any, tmp_path: Path) -> None:
    """On photos that neither saw, against the teacher, as the plain conversion of the teacher does."""
    wanted = np.asarray(teacher.predict_on_batch(gradients(400, 3).astype(np.float32)))
    images = str(tmp_path / "images.npy")
    np.save(images, gradients(256, 1)[:200])
    calibrated = integers(teacher, tmp_path, lambda target: CalibratedJob(target, images))
    made = lesson(teacher, examples(256, 1))
    state = learn(made, tmp_path, epochs=16, batch_size=16)
    quantization_aware.save_ranges(tmp_path / "ranges.json", made.ranges)
    ranges = str(tmp_path / "ranges.json")
    found = integers(made.student, tmp_path, lambda target: QuantizationAwareJob(target, ranges))
    assert state.best is not None and state.best < 0.9 * state.history[0]["val_loss"]
    assert np.unique(wanted.argmax(1)).size == 3
    same = [float((one.argmax(1) == wanted.argmax(1)).mean()) for one in (found, calibrated)]
    assert same[0] > same[1]
    assert np.abs(found - wanted).mean() < np.abs(calibrated - wanted).mean()


def test_teacher_is_left_alone(teacher: Any, tmp_path: Path) -> None:
    """Neither its weights nor what of it is trained change; what the stage freezes stays in the student."""
    before = [values.copy() for values in teacher.get_weights()]
    flags = [layer.trainable for layer in teacher.layers]
    made = lesson(teacher, examples(64, 1), unfreeze="block_5_depthwise")
    learn(made, tmp_path, unfreeze="block_5_depthwise", epochs=1)
    assert [layer.trainable for layer in teacher.layers] == flags
    assert all(map(np.array_equal, before, teacher.get_weights()))
    changed = {
        layer.name
        for layer in made.student.layers
        if not all(map(np.array_equal, layer.get_weights(), teacher.get_layer(layer.name).get_weights()))
    }
    assert changed == {
        "logits",
        *(f"block_5_{part}" for part in ("depthwise", "depthwise_BN", "conv", "conv_BN")),
    }


def test_divergence_by_worked_example() -> None:
    """The student's .5 and .5 beside the teacher's .8 and .2: .8 ln 1.6 + .2 ln .4."""
    both = np.array([[0.5, 0.5, 0.8, 0.2], [0.3, 0.7, 0.3, 0.7]], np.float32)
    found = np.asarray(distillation.divergence(None, both))
    assert found == pytest.approx([0.19274475, 0], abs=1e-6)


def test_metrics_by_worked_example() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    both = np.array([[0.9, 0.1, 0.4, 0.6], [0.2, 0.8, 0.3, 0.7], [0.4, 0.6, 0.1, 0.9]], np.float32)
    accuracy, agreement = distillation.metrics()
    for one in (accuracy, agreement):
        one.update_state(labels, both)
    assert [float(one.result()) for one in (accuracy, agreement)] == pytest.approx([2 / 3, 2 / 3])
    padded = batch_partition.without_padding(distillation.metrics())
    for one in padded:
        one.update_state(np.concatenate([labels, 0 * labels]), np.concatenate([both, both[::-1]]))
    assert [float(one.result()) for one in padded] == pytest.approx([2 / 3, 2 / 3])


def test_photos_are_wanted(teacher: Any) -> None:
    wanted = asked()
    none = replace(
        wanted, export=replace(wanted.export, calibration=replace(wanted.export.calibration, images=0))
    )
    with pytest.raises(DataError, match="images = 0"):
        distillation.set_up_distillation(none, none.stage[1], teacher, examples(8, 1), accelerators.PLAIN)


# Through the command line

DIES = """
import os, sys
from tledge.training import checkpoint
save = checkpoint.save_checkpoint
def last(path, model, state, kept):
    save(path, model, state, kept)
    (state.stage, state.epoch) == (1, 5) and os._exit(9)
checkpoint.save_checkpoint = last
from tledge.cli.main import main
main(sys.argv[1:])
"""


def train(
    folder: Path, *options: str, code: str = "from tledge.cli.main import main; main()", **env: str
) -> int:
    folder.mkdir(exist_ok=True)
    (folder / "r.toml").write_text(RECIPE)
    command = [sys.executable, "-c", code, "train", "r.toml", "--out", "run", "--quiet", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, env={**os.environ, **env})
    return done.returncode


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained and exported; do not change it."""
    folder = tmp_path_factory.mktemp("aware")
    assert train(folder) == 0
    command = [sys.executable, "-m", "tledge", "export", "run", "--int8", "--repair", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def test_run_says_how_int8_was_made(run: Path) -> None:
    facts = json.loads((run / "artifacts" / "tflite-int8.json").read_text())["details"]
    assert facts == {"quantize_aware": True, "repair": "none: the model was trained quantization-aware"}
    assert not (run / "evidence" / "calibration.npy").exists()
    assert not list((run / "evidence").glob("*uncorrected*"))
    rows = {row["variant"]: row for row in json.loads((run / "parity.json").read_text())["rows"]}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "tflite-fp32": "passed",
        "tflite-int8": "passed",
    }
    history = (run / "history.csv").read_text().splitlines()
    assert len(history) == 19 and "val_agreement" in history[0]


def test_killed_stage_resumes_to_same_bytes(run: Path, tmp_path: Path, cli: Cli) -> None:
    """Model, student and ranges, and the int8 file that is made of them."""
    assert train(tmp_path / "two", code=DIES) == 9
    assert not (tmp_path / "two/run/quantize_aware.keras").exists()
    assert train(tmp_path / "two", "--resume") == 0
    done = cli("export", tmp_path / "two/run", "--int8", "--quiet")
    assert done.code == 0, done.out + done.err
    for name in (
        "model.keras",
        "quantize_aware.keras",
        "quantize_aware.json",
        "artifacts/tflite-int8.tflite",
    ):
        assert files.sha256(tmp_path / "two/run" / name) == files.sha256(run / name), name
    assert files.sha256(run / "model.keras") != files.sha256(run / "quantize_aware.keras")


def test_jax_teaches_alike(tmp_path: Path, cli: Cli) -> None:
    """Trained on JAX, exported from here: the loss falls, and the file answers as the teacher does."""
    few = ("--set", "stage.0.epochs=2", "--set", "stage.1.epochs=8")
    assert train(tmp_path / "jax", *few, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu") == 0
    history = list(csv.DictReader((tmp_path / "jax/run/history.csv").read_text().splitlines()))
    assert float(history[-1]["loss"]) < float(history[2]["loss"])
    done = cli("export", tmp_path / "jax/run", "--int8", "--quiet")
    assert done.code == 0, done.out + done.err
    facts = json.loads((tmp_path / "jax/run/artifacts/tflite-int8.json").read_text())
    assert facts["details"] == {"quantize_aware": True}


def test_other_layers_are_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tledge.training.pipeline import train as run_stages

    def refuse(_net: Any) -> None:
        raise RecipeError("quantize_aware: layer odd is")

    monkeypatch.setattr("tledge.quantization.layer_rebuilding.require_known", refuse)
    with pytest.raises(RecipeError, match="layer odd is"):
        run_stages(asked(), RECIPE, tmp_path / "run")
    assert not (tmp_path / "run").exists()
