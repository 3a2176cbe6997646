"""The command line's words and exit codes, without training or converting anything."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tledge._version import __version__
from tledge.cli import main


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"tledge, version {__version__}\n"
    done = cli("export", "--help")
    assert done.code == 0 and "tledge export runs/rps --int8" in done.out


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train", "a", "b"], ["list", "planets"], ["train", "a", "--fast"]]
)
def test_wrong_usage_is_two(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err


def test_train_without_recipe_names_both_ways(cli: Cli) -> None:
    done = cli("train")
    assert done.code == 2 and "Name one, or continue a run with --resume RUN." in done.err


def test_recipe_typo_writes_nothing(cli: Cli, somewhere: Path) -> None:
    (somewhere / "pets.toml").write_text('[data]\nsource = "drawn"\n[model]\n[[stage]]\nepoch = 3\n')
    done = cli("train", "pets.toml")
    assert done.code == 2
    assert "pets.toml: stage.0 has no key 'epoch'. Did you mean 'epochs'?" in done.err
    assert [path.name for path in somewhere.iterdir()] == ["pets.toml"]


def test_unknown_recipe_lists_shipped(cli: Cli) -> None:
    done = cli("train", "quickstrat")
    assert done.code == 2
    assert "quickstart" in done.err and "rps" in done.err


def test_no_run_yet(cli: Cli) -> None:
    done = cli("export", "--int8")
    assert done.code == 1
    assert "no finished run here" in done.err and "tledge train" in done.err


def test_unfinished_run_is_explained(cli: Cli, somewhere: Path) -> None:
    (somewhere / "runs" / "half").mkdir(parents=True)
    done = cli("export", "runs/half")
    assert done.code == 1
    assert "run.json is missing" in done.err and "tledge train" in done.err


def test_interrupt_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tledge.cli.listing.TABLES", {"runs": interrupted})
    done = cli("list", "runs")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "Interrupted. Start again with: tledge list runs"


WARNING = """
import sys, warnings
from tledge.cli import main
main._run = lambda arguments: warnings.warn("odd", UserWarning) or 0
main.main()
"""


def test_warnings_of_libraries_are_no_errors() -> None:
    """Others keep their filter: what Python ignores by itself stays ignored."""
    for options, env in (((), {"PYTHONWARNINGS": "error"}), (("-W", "error"), {})):
        command = [sys.executable, *options, "-c", WARNING]
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "UserWarning: odd" in done.stderr and "Traceback" not in done.stderr


def test_other_filters_of_warnings_stay() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", "old", DeprecationWarning, "a.b", 7)
        warnings.simplefilter("error")
        warnings.simplefilter("always", UserWarning)
        expected = [entry for entry in warnings.filters if entry[0] != "error"]
        main._ignore_strict_warnings()
        assert warnings.filters == expected


@pytest.mark.parametrize("command", ["init", "data", "predict"])
def test_names_read_as_ascii_are_explained(command: str, tmp_path: Path) -> None:
    """With these settings Python reads `ä` as two lone surrogates; the name itself is right."""
    (tmp_path / "fotos-ä").mkdir()
    settings = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    call = [sys.executable, "-m", "tledge", command, "fotos-ä", *["photo.jpg"] * (command == "predict")]
    done = subprocess.run(
        call,
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "reads names of files as ascii here. Set PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("other", [["--skew"], ["--key", "key.pem"]])
def test_stress_takes_neither_skew_nor_key(cli: Cli, other: list[str]) -> None:
    done = cli("verify", "runs/none", "--stress", *other)
    assert done.code == 2 and "neither --skew nor --key" in done.err
