"""Precision, compiling, memory and several devices: what training does with them, and what it writes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.device_training import HALVING, TWO_STAGES, Listener, built, fit, full_above, near
from tests.helpers.fake_models import images
from tests.helpers.paths import ROOT
from tledge.config import Hardware, Stage
from tledge.errors import RecipeError, RunError
from tledge.recipe import loader
from tledge.run import folder as run_folder
from tledge.training import accelerators, batches, pipeline
from tledge.training import stage as training_stage
from tledge.training.accelerators import Engine


def test_own_errors_of_tensorflow_are_recognised() -> None:
    import tensorflow as tf

    assert accelerators.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"))
    assert not accelerators.is_out_of_memory(tf.errors.InvalidArgumentError(None, None, "OOM"))


def test_bytes_train_as_floats_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's float32 of a byte is the host's."""
    first, stage = built(Hardware()), Stage(epochs=2, unfreeze="all", batch_size=8)
    fit(first, stage, tmp_path / "bytes")
    before, kinds = batches.Examples.take, set()

    def floats(self: Any, *rest: Any) -> Any:
        found = before(self, *rest)
        kinds.add(found.dtype.name)
        return found.astype(np.float32)

    monkeypatch.setattr(batches.Examples, "take", floats)
    second = built(Hardware())
    fit(second, stage, tmp_path / "floats")
    assert kinds == {"uint8"}
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))


@pytest.mark.parametrize("keys", [{}, {"schedule": "inverse-time", "decay": 0.3}, {"ema": 0.5}])
def test_halved_stage_learns_the_same(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """19 images in updates of 8, 8 and 3, as 2 + 2 + 2 + 2 and so on."""
    stage = replace(HALVING, **keys)
    whole, halved, start = (built(Hardware()) for _ in range(3))
    fit(whole, stage, tmp_path / "whole")
    seen, listener = full_above(monkeypatch, 2), Listener()
    state = fit(halved, stage, tmp_path / "halved", Engine(Hardware(halve_batch=True)), progress=listener)
    assert [row["epoch"] for row in state.history] == [1, 2, 3] and max(seen[-20:]) == 2
    assert state.halved == {"all": 2} and state.accumulate == 4
    assert any("at batch_size = 8. The stage restarts with 4 images" in line for line in listener.lines)
    assert near(halved, whole, 5e-3 if keys.get("ema") else 1e-4)
    assert not near(start, whole, 5e-3)


def test_full_device_stops_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_above(monkeypatch, 2)
    with pytest.raises(RunError, match="stage all: the device ran out of memory at batch_size = 8"):
        fit(built(Hardware()), HALVING, tmp_path)


def test_other_errors_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_stage, "_train_epochs", lambda *_: (_ for _ in ()).throw(KeyError("other")))
    with pytest.raises(KeyError, match="other"):
        fit(built(Hardware()), HALVING, tmp_path, Engine(Hardware(halve_batch=True)))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_policy_is_mixed_and_put_back(precision: str) -> None:
    import keras

    net = built(Hardware(precision))
    kinds = {layer.name: layer.compute_dtype for layer in net.layers}
    assert kinds["scale"] == kinds["logits"] == kinds["probabilities"] == "float32"
    assert kinds["pool"] == precision and {one.dtype for one in net.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(KeyError), Engine(Hardware(precision)).building():
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


def test_float16_survives_an_overflow(tmp_path: Path) -> None:
    net, table = built(Hardware("float16")), Hardware("float16")
    before = net.get_layer("logits").kernel.numpy()
    engine = Engine(table)
    scaled = Engine.scaled

    def overflowing(self: Engine, optimizer: Any) -> Any:
        made = scaled(self, optimizer)
        made.initial_scale = 2.0**40  # times any loss: above float16's 65504
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "scaled", overflowing)
        state = fit(net, Stage(epochs=8, batch_size=4, unfreeze="all"), tmp_path, engine)
    assert float(net.optimizer.dynamic_scale) < 2.0**39
    assert all(np.isfinite(one).all() for one in net.get_weights()) and state.epoch == 8
    assert int(net.optimizer.iterations) < 40  # of 8 * 5 steps the first ones were left out
    assert not np.array_equal(before, net.get_layer("logits").kernel.numpy())


def trained(out: Path, *settings: str) -> run_folder.RunFolder:
    pipeline.train(loader.parse(TWO_STAGES, "own.toml", settings), TWO_STAGES, out, settings=settings)
    return run_folder.RunFolder(out)


def parts(folder: run_folder.RunFolder) -> dict[str, bytes]:
    with zipfile.ZipFile(folder.model) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def losses(folder: run_folder.RunFolder) -> list[float]:
    lines = folder.history.read_text().splitlines()
    column = lines[0].split(",").index("val_loss")
    return [float(line.split(",")[column]) for line in lines[1:]]


def test_mixed_run_is_written_in_float32(tmp_path: Path) -> None:
    """Also with frozen layers computed once, which changes no weight."""
    from tledge.conversion import export
    from tledge.models import classifier

    precision = "bfloat16"

    plain = trained(tmp_path / "plain")
    mixed = trained(tmp_path / "mixed", f"hardware.precision={precision}")
    assert parts(mixed)["config.json"] == parts(plain)["config.json"]
    assert b"mixed" not in parts(mixed)["config.json"]
    assert parts(mixed)["model.weights.h5"] != parts(plain)["model.weights.h5"]
    assert losses(mixed) == pytest.approx(losses(plain), abs=0.1) and losses(mixed) != losses(plain)
    golden = np.load(mixed.golden)
    answers = classifier.load(mixed.model).predict_on_batch(golden["images"].astype(np.float32))
    np.testing.assert_array_equal(answers, golden["probabilities"])
    asked = [f"hardware.precision={precision}"]
    export.export(mixed, loader.parse(TWO_STAGES, "own.toml", asked), ["tflite-fp32"])
    anew = trained(tmp_path / "anew", f"hardware.precision={precision}", "stage.0.reuse_frozen=false")
    assert parts(anew) == parts(mixed)


def test_frozen_outputs_know_their_precision() -> None:
    """Another key for each precision, and float32 holds all that bfloat16 gives."""
    from tledge.models import classifier
    from tledge.training import frozen_features

    keys = set()
    for precision in ("float32", "bfloat16", "float16"):
        net = built(Hardware(precision))
        classifier.set_trainable(net, Stage())
        front = frozen_features.cut(net).front  # type: ignore[union-attr]
        keys.add(frozen_features.key(front, "photos"))
        given = np.asarray(front.predict_on_batch(images(4)))
        assert given.dtype.name == precision
        assert np.array_equal(given.astype(np.float32).astype(given.dtype), given) and given.any()
    assert len(keys) == 3


@pytest.mark.parametrize(("jit", "asked"), [("auto", True), ("off", True), ("on", False)])
def test_compiling_gives_up_determinism(jit: str, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras compiles no step with TensorFlow while kernels have to be deterministic."""
    import tensorflow as tf

    calls: list[int] = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: calls.append(1))
    pipeline._seed(0, Hardware(jit_compile=jit))
    assert bool(calls) == asked


def test_compiled_steps_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.trainers import trainer

    # Other tests of this process have asked for determinism, which cannot be taken back.
    monkeypatch.setattr(trainer, "model_supports_jit", lambda _model: True)
    nets = [built(Hardware()) for _ in range(2)]
    for net, jit in zip(nets, ("on", "off"), strict=True):
        fit(net, Stage(epochs=2, unfreeze="all"), tmp_path / jit, Engine(Hardware(jit_compile=jit)))
        assert net.jit_compile == (jit == "on")
    assert near(*nets, atol=1e-4)


def test_all_of_one_device_is_one() -> None:
    listener = Listener()
    assert accelerators.engine(Hardware(devices="all"), listener).replicas == 1
    assert "this machine has one device" in listener.lines[0]


def test_tensorflow_cannot_halve_on_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "_devices", lambda: ["CPU:0", "CPU:1"])
    with pytest.raises(RecipeError, match="halve_batch: TensorFlow cannot"):
        accelerators.engine(Hardware(devices="all", halve_batch=True))


TWO = """
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from tledge.training import accelerators, checkpoint, pipeline
from tledge.config import Hardware, Stage

sys.path.insert(0, ROOT)
from tests.helpers.device_training import HALVING, built, examples, fit, near

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    one = tf.config.LogicalDeviceConfiguration
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [one(), one()])
    accelerators._devices = lambda: ["CPU:0", "CPU:1"]
pipeline._seed(0, Hardware())
engine = accelerators.engine(Hardware(devices="all", precision=PRECISION))
assert engine.replicas == 2
stage, out = replace(HALVING, optimizer="adam"), Path(OUT)


def made():
    with engine.building():
        net = built(engine.table)
    return engine.rebuild_in_scope(net)


single, double = built(engine.table), made()
assert double.predict_on_batch(examples(5).images).shape == (5, 3)
first = fit(single, stage, out / "single", accelerators.Engine(engine.table))
second = fit(double, stage, out / "double", engine)
assert near(single, double, TOLERANCE)
for one, other in zip(first.history, second.history):
    for name in ("loss", "val_loss", "val_accuracy"):
        assert abs(one[name] - other[name]) < 5e-3, (name, one, other)

state, saved = checkpoint.State(), checkpoint.save_checkpoint


def dies(*rest):
    saved(*rest)
    if state.epoch == 2:
        raise KeyboardInterrupt


checkpoint.save_checkpoint = dies
try:
    fit(made(), stage, out / "killed", engine, state)
except KeyboardInterrupt:
    checkpoint.save_checkpoint = saved
resumed = made()
fit(resumed, stage, out / "killed", engine, checkpoint.read_state(out / "killed" / "state.npz"))
assert near(resumed, double, 0)
plain = engine.plain(resumed)
assert near(plain, resumed, 0) and plain.dtype_policy.name == "float32"
plain.save(out / "plain.keras")
print("done")
"""


def run_on_two(backend: str, precision: str, tolerance: float, out: Path) -> None:
    import os

    words = {"ROOT": str(ROOT), "OUT": str(out), "PRECISION": precision}
    script = TWO.replace("TOLERANCE", str(tolerance))
    for word, value in words.items():
        script = script.replace(f"{word})", f"{value!r})")
    flags = {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    environment = {**os.environ, **flags, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr[-3000:]


def test_two_devices_train_as_one(tmp_path: Path) -> None:
    """19 images in batches of 8, 8 and 3: the last is filled up for two devices."""
    run_on_two("tensorflow", "float32", 1e-4, tmp_path)


def test_two_devices_of_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    run_on_two("jax", "float32", 1e-4, tmp_path)
