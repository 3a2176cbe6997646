"""`tledge train` that is interrupted says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.recipes import drawn, tiny_recipe


@pytest.fixture(autouse=True)
def attended() -> Iterator[None]:
    """Children take SIGINT and SIGHUP, which shells in the background and nohup let them ignore."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


RECIPE = '[recipe]\nname = "tiny"\n' + tiny_recipe(drawn(30_000, 60, 64))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["data", "my tiny.toml"],
            "The photos prepared so far are kept; resume with: tledge data 'my tiny.toml'",
        ),
        pytest.param(
            ["train", "my tiny.toml", "--force"],
            "The epochs trained so far are kept; resume with: tledge train 'my tiny.toml' --resume",
            marks=pytest.mark.slow(minutes=0.1),  # it imports TensorFlow
        ),
    ],
)
def test_command_says_how_to_go_on(tmp_path: Path, words: list[str], line: str) -> None:
    (tmp_path / "my tiny.toml").write_text(RECIPE)
    env = {**os.environ, "TLEDGE_CACHE": str(tmp_path / "cache")}
    patient = (
        "from tledge._process import signals; signals.GRACE = 25; from tledge.cli.main import main; main()"
    )
    command = [sys.executable, "-c", patient, *words]  # a busy machine may need longer than the usual 3 s
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("cache/.*.partial/rows.jsonl")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"Interrupted. {line}" and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_run_that_force_would_replace_still_stands(tmp_path: Path) -> None:
    from tledge.cli.train import _resume_advice

    words = ["train", "a.toml", "--force"]
    assert _resume_advice(words, tmp_path, force=True).endswith("tledge train a.toml --resume")
    (tmp_path / "run.json").touch()
    assert _resume_advice(words, tmp_path, force=True).endswith("tledge train a.toml --force")
    assert _resume_advice(["train", "a.toml", "--resume"], tmp_path, force=False).endswith("a.toml --resume")


def test_plan_is_shown_before_any_library_loads(cli: Cli, somewhere: Path) -> None:
    """The recipe's photos are missing, so the command ends before Keras is imported."""
    (somewhere / "photos" / "cat").mkdir(parents=True)
    (somewhere / "own.toml").write_text(tiny_recipe('source = "folder:photos"'))
    loaded = set(sys.modules)
    done = cli("train", "own.toml")
    lines = done.err.splitlines()
    assert done.code == 1 and lines[0] == "Training own" and "no photos" in lines[-1]
    assert [line.split("  ")[1] for line in lines[1:6]] == [
        "model",
        "image size",
        "stages",
        "source",
        "folder",
    ]
    assert not {"tensorflow", "keras"} & (set(sys.modules) - loaded)
    assert cli("train", "own.toml", "--quiet").err.startswith("tledge: ")
