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
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.recipes import drawn, tiny_recipe
from tledge.training import multi_host

RECIPE = tiny_recipe(
    drawn(63, 12, 32),
    """name = "head"
epochs = EPOCHS
batch_size = 8
optimizer = "sgd"
learning_rate = 0.05
class_weights = "balanced"
restore_best = false""",
    share=0.24,
    model="dropout = 0.0\nhead_batch_norm = true\nhead = [8]",
)


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
    from tledge.models import classifier

    return np.concatenate([one.ravel() for one in classifier.load(run / "model.keras").get_weights()])


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


@pytest.mark.parametrize("victim", [0, 1])
def test_lost_process_ends_the_other(victim: int, tmp_path: Path, compiled: Path) -> None:
    """Killed in the middle: the other says so and exits 1, and both go on from the last epoch."""
    team = Team(tmp_path, compiled, epochs=60)
    processes = team.both()
    team.wait_for(victim, r"head +3/60")
    processes[victim].send_signal(signal.SIGKILL)
    processes[victim].wait()
    begun = time.monotonic()
    assert processes[1 - victim].wait(120) == 1, team.said(1 - victim)
    assert time.monotonic() - begun < multi_host.HEARTBEAT_SECONDS + 30
    said = team.said(1 - victim)
    assert "another process of this run was lost" in said and "--resume" in said
    assert "Traceback" not in said and "stack trace" not in said
    assert not (tmp_path / "run" / "run.json").exists()
    if victim == 1:
        assert [one.wait(600) for one in team.both("--resume")] == [0, 0], team.said(2) + team.said(3)
        assert not re.search(r"head +3/60", team.said(2) + team.said(3))
        assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 61


def test_processes_must_ask_for_the_same(tmp_path: Path, compiled: Path) -> None:
    team = Team(tmp_path, compiled, epochs=2)
    where = ["--coordinator", team.address, "--processes", 2, "--process"]
    one = team.start("run", *where, 0)
    other = team.start("run", "--set", "stage.0.epochs=3", *where, 1)
    assert [one.wait(300), other.wait(300)] == [1, 1]
    assert "process 1 has another recipe or --set than process 0" in team.said(0) + team.said(1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("process", [0, 1])
def test_nobody_else_comes(process: int, tmp_path: Path, compiled: Path) -> None:
    team = Team(tmp_path, compiled, epochs=2)
    where = ["--coordinator", team.address, "--processes", "2", "--process", str(process)]
    code = (
        "from tledge.cli.main import main; from tledge.training import multi_host; "
        "multi_host.JOIN_SECONDS = 2; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "team.toml", *where],
        cwd=tmp_path, env=team.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "did not reach the others" in done.stderr
    assert "stack trace" not in done.stderr and not (tmp_path / "runs").exists()
