"""Training on JAX where no TensorFlow is installed, from a cache that travelled; exported here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.command_line import Cli
from tests.helpers.recipes import drawn, tiny_recipe

pytestmark = pytest.mark.slow(minutes=1.5)
ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith(("tensorflow", "tf_keras", "tf2onnx")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
RECIPE = tiny_recipe(
    drawn(90, 30, 32),
    """name = "all"
epochs = 12
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.5
learning_rate = 4e-3
patience = 0
restore_best = false
batch_size = 16
[export]
variants = ["saved_model", "tflite-fp32"]
[augment]
flip = "horizontal"
contrast = 0.3
resize_jitter = 0.5""",
    share=0.2,
)


class Away:
    """Another machine: JAX, no TensorFlow, no source, a cache root of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(ABSENT)
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")]),
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TLEDGE_CACHE": str(folder / "caches"),
        }

    def start(self, out: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tledge", "train", "r.toml", "--cache", "cache.zip", "--out", out]
        with (self.folder / f"{out}.log").open("w") as log:
            return subprocess.Popen(
                [*command, *options], cwd=self.folder, env=self.env, stdout=log, stderr=log, text=True
            )

    def train(self, out: str, *options: str) -> Path:
        ended = self.start(out, *options).wait(600)
        assert ended == 0, (self.folder / f"{out}.log").read_text()
        return self.folder / out


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Away:
    from tledge.data import cache_archive, prepare
    from tledge.recipe import loader

    folder = tmp_path_factory.mktemp("away")
    (folder / "r.toml").write_text(RECIPE)
    asked = loader.load(folder / "r.toml")
    cache_archive.pack(prepare.prepare_dataset(asked.data, 32), asked.data, 32, folder / "cache.zip")
    return Away(folder)


@pytest.fixture(scope="module")
def run(away: Away) -> Path:
    return away.train("run", "--set", "augment.views=2")


def test_nothing_asks_for_tensorflow(away: Away) -> None:
    """The stand-in for a machine without TensorFlow is one."""
    command = [sys.executable, "-c", "import tensorflow"]
    done = subprocess.run(command, env=away.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "No module named 'tensorflow'" in done.stderr


def test_brought_back_it_exports_alike(run: Path, away: Away, cli: Cli, tmp_path: Path) -> None:
    """Keras' answers under JAX are those under TensorFlow; artifacts pass, int8 is calibrated from here."""
    from tledge.models import classifier
    from tledge.run import golden_set

    home = Path(shutil.copytree(run, tmp_path / "run"))
    found = golden_set.load(home / "golden.npz")
    answers = np.asarray(
        classifier.load(home / "model.keras").predict_on_batch(found.images.astype(np.float32))
    )
    assert np.ptp(found.probabilities, axis=0).min() > 0.05, "the network says the same of every photo"
    assert np.abs(answers - found.probabilities).max() <= 1e-4
    assert np.array_equal(answers.argmax(1), found.probabilities.argmax(1))
    shutil.move(away.folder / "caches", tmp_path / "not-here")
    try:
        done = cli("export", home, "--int8", "--unverified", "--quiet")
    finally:
        shutil.move(tmp_path / "not-here", away.folder / "caches")
    assert done.code == 0, done.out + done.err
    rows = {line.split()[0]: line for line in done.out.splitlines() if " KiB" in line or "passed" in line}
    assert "passed" in rows["saved_model"] and "passed" in rows["tflite-fp32"]
    assert (home / "evidence" / "calibration.npy").is_file()


def test_killed_run_resumes_to_same_bytes(away: Away) -> None:
    """Drawn anew in every epoch this time; killed after the third epoch or later."""
    short = ("--set", "stage.0.epochs=6")
    whole = away.train("whole", *short)
    killed = away.start("killed", *short)
    end = time.monotonic() + 600
    while not re.search(r"all +3/6", (away.folder / "killed.log").read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (away.folder / "killed" / "run.json").exists()
    resumed = away.train("killed", *short, "--resume")
    assert (resumed / "model.keras").read_bytes() == (whole / "model.keras").read_bytes()
