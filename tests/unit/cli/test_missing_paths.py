"""A path that does not exist ends every command with 2, as all wrong arguments do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.recipes import BARE

OTHER_ARGUMENTS: dict[str, list[tuple[str, ...]]] = {
    "init": [("nope",), ("nope.csv",), ("nope.zip",)],
    "data": [("nope.toml",), ("nope",), ("nope/nope.toml",)],
    "train": [
        ("nope.toml",), ("nope", "--resume"), ("nope/nope.toml", "--resume"),
        ("quickstart", "--cache", "nope.zip", "--out", "new"),
    ],
    "export": [("nope",), ("run", "--sign", "nope.pem"), ("run", "--photos", "nope")],
    "verify": [
        ("nope",), ("nope.zip",), ("nope", "--skew"), ("nope.zip", "--key", "nope.pem"),
        ("run", "--photos", "nope"),
    ],
    "bundle": [
        ("nope",), ("nope", "--target", "web"), ("nope.zip", "--target", "web"),
        ("run", "--sign", "nope.pem"),
    ],
    "adopt": [("nope.keras", "--photos", "nope")],
    "compare": [("nope", "run"), ("run", "nope"), ("run", "nope.zip")],
    "predict": [("nope", "photo.jpg"), ("nope.tflite", "photo.jpg"), ("nope.zip", "photo.jpg")],
    "preview": [("nope", "--no-browser"), ("nope.zip", "--no-browser")],
    "inspect": [("nope",), ("nope.tflite",), ("nope.zip",), ("nope", "--quantization")],
}  # fmt: skip
"""What is typed; a command that is not named here gets "nope" alone."""

WITHOUT_PATHS = {"list", "doctor", "completion"}


def commands() -> list[tuple[str, ...]]:
    from tledge.cli.main import tledge

    named = {name: OTHER_ARGUMENTS.get(name, [("nope",)]) for name in tledge.commands}
    return [(name, *rest) for name, lines in named.items() if name not in WITHOUT_PATHS for rest in lines]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_missing_path_is_two(cli: Cli, somewhere: Path, words: tuple[str, ...]) -> None:
    run = fake_artifacts.run(somewhere / "run")
    (run / "recipe.toml").write_text(BARE)
    (run / "environment.json").write_text("{}")
    done = cli(*words)
    assert done.code == 2, done.err
    assert "nope" in done.err.splitlines()[-1] and "Traceback" not in done.err
    assert not list(somewhere.rglob("nope*")) and not (somewhere / "new").exists()
