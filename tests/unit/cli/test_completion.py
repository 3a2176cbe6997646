"""Shell completion: what a shell that asks is told, and that bash takes the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.helpers.command_line import Cli
from tests.helpers.paths import ROOT
from tledge._io import resources
from tledge.cli.completion import SHELLS, Named
from tledge.cli.main import tledge
from tledge.devices.projects import TARGETS
from tledge.formats.registry import VARIANTS


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished run, a bundle, a run that is not finished, and a recipe."""
    for name in ("runs/pets/run.json", "runs/pets/bundle/manifest.json", "runs/half/recipe.toml", "my.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complete(*words: str) -> list[tuple[str, str]]:
    """Kind and value of what the last of the words may become."""
    asked = ShellComplete(tledge, {}, "tledge", "_TLEDGE_COMPLETE")
    return [(one.type, one.value) for one in asked.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("command", ["export", "verify", "bundle", "bench", "inspect", "predict", "compare"])
def test_runs_are_completed(command: str) -> None:
    found = [value for _kind, value in complete(command, "runs/")]
    assert "runs/pets" in found and "runs/half" not in found
    assert ("runs/pets/bundle" in found) == (command != "export")


@pytest.mark.parametrize("command", ["train", "data"])
def test_recipes_are_completed(command: str) -> None:
    found = [value for _kind, value in complete(command, "")]
    assert found == ["my.toml", *resources.recipes()]


def test_paths_are_completed_where_no_name_fits() -> None:
    assert complete("train", "elsewhere/") == [("file", "elsewhere/")]
    assert complete("export", "other/ru") == [("file", "other/ru")]


@pytest.mark.parametrize("command", ["export", "verify", "predict", "bench", "compare"])
def test_variants_are_completed(command: str) -> None:
    assert [value for _kind, value in complete(command, "--variant", "")] == list(VARIANTS)
    assert complete(command, "--variant", "tflite-i") == [
        ("plain", "tflite-int8"),
        ("plain", "tflite-int16x8"),
    ]
    assert complete(command, "--variant", "tf-") == []


def test_no_command_was_forgotten() -> None:
    """Parameters are known by name: one that takes runs or variants under another name would not complete."""
    flags = {"--variant", "--target"}
    others = [
        (name, param.name)
        for name, command in tledge.commands.items()
        for param in command.params
        if (flags & {*param.opts} or param.metavar in ("RECIPE", "[RUN|BUNDLE]", "FILE|RUN"))
        and not isinstance(param.type, Named)
    ]
    assert others == []


def test_targets_and_commands_are_completed() -> None:
    assert [value for _kind, value in complete("bundle", "--target", "")] == list(TARGETS)
    assert ("plain", "doctor") in complete("do") and ("plain", "runs") in complete("list", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_printed(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.code == 0 and f"_TLEDGE_COMPLETE={shell}_complete" in done.out


def test_unknown_shell_is_two(cli: Cli) -> None:
    assert cli("completion", "tcsh").code == 2


def test_bash_completes(somewhere: Path) -> None:
    """The script in a bash of its own, asked as the terminal asks."""
    program = somewhere / "bin" / "tledge"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tledge.cli.main import main\nmain()\n"
    )
    program.chmod(0o755)
    script = (
        'export PATH="$PWD/bin:$PATH"; eval "$(tledge completion bash)"; complete -p tledge\n'
        "COMP_WORDS=(tledge export --variant onnx-i); COMP_CWORD=3\n"
        '_tledge_completion tledge; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "onnx-int8" and "_tledge_completion" in done.stdout
