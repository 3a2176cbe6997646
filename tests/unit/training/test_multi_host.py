"""Training in two processes: the same weights in both, as alone, and a clear end when one is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.command_line import Cli, Done
from numpy.typing import NDArray

from tledge import distribution, feeding, tables
from tledge.distribution import Hosts
from tledge.errors import RecipeError
from tledge.hardware import Split, without_padding

HERE = "127.0.0.1:1234"


# Usage


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":80", "host:port", "host:0", "host:65536", "host:-1"]
)
def test_malformed_coordinator(address: str) -> None:
    with pytest.raises(RecipeError, match="expected HOST:PORT"):
        Hosts(address, 2, 0)


@pytest.mark.parametrize(("processes", "process"), [(2, 2), (2, -1), (0, 0), (-1, 0)])
def test_process_out_of_range(processes: int, process: int) -> None:
    with pytest.raises(RecipeError, match="processes count from 0"):
        Hosts(HERE, processes, process)


@pytest.mark.parametrize(
    "options", [["--processes", 2], ["--coordinator", HERE, "--processes", 2], ["--process", 0]]
)
def test_options_go_together(options: list[Any], cli: Cli) -> None:
    done = cli("train", "quickstart", *options)
    assert done.code == 2 and "all three or none" in done.err


@pytest.mark.slow
def test_tensorflow_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Keras runs on TensorFlow in this process."""
    where = ["--coordinator", HERE, "--processes", 2, "--process", 1]
    done = cli("train", "quickstart", "--out", tmp_path / "run", *where)
    assert done.code == 2 and "set KERAS_BACKEND=jax" in done.err
    assert not (tmp_path / "run").exists()


def test_one_process_is_alone() -> None:
    assert Hosts("", 1, 0) == distribution.ALONE and distribution.ALONE.writes


# Shares of a batch


@pytest.fixture
def three_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "devices", lambda: 3)


def splits(size: int) -> list[Split]:
    """How each of three processes with one device takes batches of `size`."""
    return [Split(size, 1, 3, 3, process) for process in range(3)]


def test_share_by_worked_example() -> None:
    found = [one.take(np.arange(7), 0) for one in splits(9)]
    assert [positions.tolist() for positions, _ in found] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    weights = [[9 / 7] * 3, [9 / 7] * 3, [9 / 7, 0, 0]]
    assert np.allclose([share for _, share in found], weights)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_is_that_of_real_images(count: int, weighted: bool) -> None:
    rng = np.random.default_rng(count)
    images, labels = rng.random((count, 4)), np.eye(5, dtype=np.float32)[rng.integers(0, 5, count)]
    losses, weights = rng.random(count), rng.random(count).astype(np.float32)
    total, size = 0.0, 0
    for one in splits(9):
        own, share = one.take(np.arange(count), 0)
        batch = one.weighed(images[own], labels[own], weights[own] if weighted else None, share, 0.0)
        assert len(batch[0]) == len(batch[1]) == len(batch[2])
        assert np.array_equal(batch[1].sum(1), share > 0)
        total, size = total + (losses[own] * batch[2]).sum(), size + len(own)
    assert total / size == pytest.approx((losses * (weights if weighted else 1)).mean(), rel=1e-6)


def test_epoch_mean_is_exact() -> None:
    """Keras weighs the means of batches by their size: 11 images by 6 fill 6 + 6."""
    losses, order, means = np.random.default_rng(0).random(11), np.arange(11), []
    for number in range(2):
        total = 0.0
        for process in range(3):
            one, even = Split(6, 1, 3, 3, process).for_validation(11)
            own, share = one.take(order, number)
            labels = np.ones((len(own), 1), np.float32)
            total += (losses[own] * one.weighed(own, labels, None, share, even)[2]).sum()
        means.append(total / 6)
    assert np.mean(means) == pytest.approx(losses.mean())


@pytest.mark.parametrize(("size", "near"), [(8, "6 or 9"), (2, "3"), (10, "9 or 12")])
def test_uneven_batch_is_refused(size: int, near: str, three_devices: None) -> None:
    stages = [tables.Stage(name="a", batch_size=6), tables.Stage(name="b", batch_size=size)]
    with pytest.raises(RecipeError, match=rf"stage\]\] b: batch_size = {size} .* that can: {near}\."):
        distribution.require_batches(Hosts(HERE, 3, 0), stages)


@pytest.mark.slow
def test_shares_make_the_batch() -> None:
    """What three processes read is what one reads."""
    images: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, (14, 2, 2, 3), np.uint8)
    examples = feeding.Examples(images, np.eye(4, dtype=np.float32)[np.arange(14) % 4], np.arange(14))
    stage = tables.Stage(batch_size=6, class_weights="balanced")

    def data(split: Split | None) -> Any:
        return feeding.batches(examples, stage, seed=1, epoch=2, train=True, split=split)

    for number, count in enumerate((6, 6, 2)):
        wanted = data(None)[number]
        parts = [data(one)[number] for one in splits(6)]
        for kind, one in enumerate(wanted):
            found = np.concatenate([part[kind] for part in parts])[:count]
            scale = len(np.concatenate([part[2] for part in parts])) / count if kind == 2 else 1
            assert np.allclose(found, one * scale, rtol=1e-6)


@pytest.mark.slow
def test_padding_does_not_count_as_right() -> None:
    """Accuracy over rows with a label, whatever weights say."""
    import keras

    (metric,) = without_padding([keras.metrics.CategoricalAccuracy(name="accuracy")])
    labels = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    metric.update_state(labels, np.array([[0.9, 0.1]] * 4, np.float32), np.array([5.0, 1, 0, 0]))
    assert metric.name == "accuracy" and float(metric.result()) == 0.5


# Processes

RECIPE = """
[data]
source = "drawn"
train = 63
test = 12
size = 32
[data.splits]
validation = { from = "train", fraction = 0.24 }
[model]
backbone = "tiny"
weights = "none"
image_size = 32
dropout = 0.0
head_batch_norm = true
head = [8]
[[stage]]
name = "head"
epochs = EPOCHS
batch_size = 8
optimizer = "sgd"
learning_rate = 0.05
class_weights = "balanced"
restore_best = false
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What XLA compiled, for the next process."""
    return tmp_path_factory.mktemp("compiled")


class Team:
    """Starts processes of one run in a folder of their own."""

    def __init__(self, folder: Path, compiled: Path, epochs: int) -> None:
        self.folder = folder
        (folder / "team.toml").write_text(RECIPE.replace("EPOCHS", str(epochs)))
        (folder / "tmp").mkdir()
        self.env = {
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TMPDIR": str(folder / "tmp"),
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self, out: str, *options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tledge", "train", "team.toml", "--out", out, *map(str, options)]
        with (self.folder / f"{out}-{len(list(self.folder.glob('*.log')))}.log").open("w") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log, text=True)

    def both(self, *options: object) -> list[subprocess.Popen[str]]:
        where = ["--coordinator", self.address, "--processes", 2, "--process"]
        return [self.start("run", *options, *where, number) for number in range(2)]

    def said(self, number: int) -> str:
        """What the process started as the `number`th has written."""
        (path,) = self.folder.glob(f"*-{number}.log")
        return path.read_text()

    def wait_for(self, number: int, pattern: str, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.said(number)):
            assert time.monotonic() < end, self.said(number)
            time.sleep(0.05)


def weights(run: Path) -> NDArray[np.float32]:
    from tledge import model

    return np.concatenate([one.ravel() for one in model.load(run / "model.keras").get_weights()])


@pytest.mark.distributed
def test_two_processes_as_one(tmp_path: Path, compiled: Path) -> None:
    team = Team(tmp_path, compiled, epochs=4)
    assert team.start("alone").wait(600) == 0, team.said(0)
    assert [one.wait(600) for one in team.both()] == [0, 0], team.said(1) + team.said(2)
    assert "process 0 writes the run" in team.said(2) and "[Gloo]" not in team.said(1)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"alone", "run", "tmp"}
    assert list((tmp_path / "tmp").iterdir()) == []
    alone, shared = (weights(tmp_path / name) for name in ("alone", "run"))
    assert np.abs(alone - shared).max() < 1e-4
    facts = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("alone", "run")]
    assert facts[0]["test"] == facts[1]["test"] and facts[0]["validation"] == facts[1]["validation"]
    rows = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("alone", "run")]
    columns = rows[0][0].split(",")
    for one, two in zip(rows[0][1:], rows[1][1:], strict=True):
        for name, a, b in zip(columns, one.split(","), two.split(","), strict=True):
            # The training loss counts the last batch as filled up.
            allowed = {"accuracy": 1e-6, "val_accuracy": 1e-6, "val_loss": 1e-5, "loss": 5e-2}
            assert name not in allowed or float(a) == pytest.approx(float(b), abs=allowed[name])
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2


@pytest.mark.distributed
@pytest.mark.parametrize("victim", [0, 1])
def test_lost_process_ends_the_other(victim: int, tmp_path: Path, compiled: Path) -> None:
    """Killed in the middle: the other says so and exits 1, and both go on from the last epoch."""
    team = Team(tmp_path, compiled, epochs=60)
    processes = team.both()
    team.wait_for(victim, "head 3/60")
    processes[victim].send_signal(signal.SIGKILL)
    processes[victim].wait()
    begun = time.monotonic()
    assert processes[1 - victim].wait(120) == 1, team.said(1 - victim)
    assert time.monotonic() - begun < distribution.HEARTBEAT_SECONDS + 30
    said = team.said(1 - victim)
    assert "another process of this run was lost" in said and "--resume" in said
    assert "Traceback" not in said and "stack trace" not in said
    assert not (tmp_path / "run" / "run.json").exists()
    if victim == 1:
        assert [one.wait(600) for one in team.both("--resume")] == [0, 0], team.said(2) + team.said(3)
        assert "head 3/60" not in team.said(2) + team.said(3)
        assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 61


@pytest.mark.distributed
def test_processes_must_ask_for_the_same(tmp_path: Path, compiled: Path) -> None:
    team = Team(tmp_path, compiled, epochs=2)
    where = ["--coordinator", team.address, "--processes", 2, "--process"]
    one = team.start("run", *where, 0)
    other = team.start("run", "--set", "stage.0.epochs=3", *where, 1)
    assert [one.wait(300), other.wait(300)] == [1, 1]
    assert "process 1 has another recipe or --set than process 0" in team.said(0) + team.said(1)
    assert not (tmp_path / "run").exists()


@pytest.mark.distributed
@pytest.mark.parametrize("process", [0, 1])
def test_nobody_else_comes(process: int, tmp_path: Path, compiled: Path) -> None:
    team = Team(tmp_path, compiled, epochs=2)
    where = ["--coordinator", team.address, "--processes", "2", "--process", str(process)]
    code = "from tledge import cli, distribution as d; d.JOIN_SECONDS = 2; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "team.toml", *where],
        cwd=tmp_path, env=team.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "did not meet the others" in done.stderr
    assert "stack trace" not in done.stderr and not (tmp_path / "runs").exists()
