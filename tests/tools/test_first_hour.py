"""The script of the first hour: photos that repeat, commands that share a shell, faults that it names."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import first_hour
import newcomer
import pytest
from first_hour import Measured


def folder_of(root: Path, labels: int, photos: int) -> Path:
    for label in range(labels):
        (root / "train" / f"label{label}").mkdir(parents=True)
        for number in range(photos):
            (root / "train" / f"label{label}" / f"{number}.jpg").write_bytes(bytes([number]))
    return root


def test_subset_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", labels=5, photos=9)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        first_hour.subset(photos, tmp_path / name, labels=3, each=4, seed=seed)
    one, two, other = (
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*.jpg"))
        for name in ("one", "two", "other")
    )
    assert one == two != other and len(one) == 12 and len({Path(name).parent for name in one}) == 3


def test_commands_are_the_tutorials() -> None:
    short = first_hour.commands(Path(sys.prefix), full=False)
    full = first_hour.commands(Path(sys.prefix), full=True)
    assert [line for line in full if line.startswith("tledge train")] == ["tledge train mine.toml"]
    assert any("--set stage.0.epochs=" in line for line in short if line.startswith("tledge train"))
    assert "tledge export runs/mine --int8" in full and any("--self-test" in line for line in full)
    assert not any(line.startswith(("make", "scp")) for line in full)


def walk(tmp_path: Path, *lines: str) -> list[Measured]:
    return list(first_hour.walk(lines, tmp_path, newcomer.surroundings(tmp_path / "home", None)))


def test_commands_share_folder_and_variables(tmp_path: Path) -> None:
    script = "mkdir inside", "cd inside", "PATH=/elsewhere:$PATH", "exit 7", 'echo "$PATH in $PWD"'
    found = walk(tmp_path, *script)
    assert [one.code for one in found] == [0, 0, 0, 7, 0]
    assert "/elsewhere:" in found[-1].output and found[-1].output.strip().endswith("/inside")


def test_terminal_has_eighty_columns_and_output_no_controls(tmp_path: Path) -> None:
    (one,) = walk(tmp_path, "stty size; printf '\\033[1;31mred\\033[0m'")
    assert one.output.split() == ["40", "80", "red"]


def test_progress_leaves_its_last_text() -> None:
    written = b"\x1b[?25l\r\x1b[2K 1/2\r\x1b[2K 2/2\r\x1b[2K\x1b[?25hdone\r\n\x1b[1mNext: x\x1b[0m \r\n"
    assert first_hour.readable(written) == "done\nNext: x" and first_hour.readable(b"\x1b[?25l\r") == ""


def test_times_are_those_of_the_command(tmp_path: Path) -> None:
    busy = f"{sys.executable} -c 'import time\nwhile time.process_time() < .3: pass\nprint(1)'"
    (one,) = walk(tmp_path, f"{busy}; echo done")
    assert one.cpu > 0.28 and one.seconds > 0.28 and 0.2 < one.first_output <= one.cpu
    assert one.silence > 0.2


GOOD = Measured("tledge data mine.toml", 0, "Next: tledge train mine.toml", 5, 5, 0.3, 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"code": 3, "output": "1 of 4 failed.\nNext: tledge bundle runs/mine"}, ""),
        ({"code": 3, "output": "try --repair"}, ""),
        ({"code": 3, "output": "verification did not pass"}, "names no next command"),
        ({"code": 3, "output": "tledge data\n" + "line\n" * 9}, "names no next command"),
        ({"first_output": 2.5}, "nothing on the screen for 2.5 CPU seconds"),
        ({"first_output": 2.5, "command": "pip install x"}, ""),
    ],
)
def test_faults_are_named(change: dict[str, object], said: str) -> None:
    fault = replace(GOOD, **change).fault  # type: ignore[arg-type]
    assert said in fault and bool(said) == bool(fault)


def test_end_of_the_path_is_checked(tmp_path: Path) -> None:
    test = replace(GOOD, command="python classify.py --self-test", output="self-test passed")
    assert len(first_hour.missing(tmp_path, [GOOD])) == 2
    bundle = tmp_path / "runs" / "mine" / "bundle"
    bundle.mkdir(parents=True)
    for variants, faults in ((["tflite-fp32"], 1), (["tflite-fp32", "tflite-int8"], 0)):
        artifacts = [{"variant": name} for name in variants]
        (bundle / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
        assert len(first_hour.missing(tmp_path, [GOOD, test])) == faults


def test_table_fits_the_page() -> None:
    lines = first_hour.table([GOOD, replace(GOOD, command="x" * 90)]).splitlines()
    assert len(lines) == 4 and {len(line) for line in lines[:3]} == {len(lines[0])} and len(lines[0]) <= 100
    assert lines[-1].split()[-2:] == ["10.0", "10.0"]


def test_older_code_is_compared_from_init_to_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def to_bundle(_asked: object, work: Path, code: Path) -> list[Measured]:
        if code != first_hour.newcomer.ROOT:
            return [replace(GOOD, seconds=100, cpu=40)]
        (work / "runs" / "mine" / "bundle").mkdir(parents=True)
        (work / "runs" / "mine" / "bundle" / "manifest.json").touch()
        return [replace(GOOD, seconds=30, cpu=20), replace(GOOD, seconds=20, cpu=4)]

    monkeypatch.setattr(first_hour, "to_bundle", to_bundle)
    monkeypatch.setattr(first_hour, "older", lambda _commit: nullcontext(tmp_path / "before"))
    asked = Namespace(before="v1")
    assert first_hour.compare(asked, tmp_path) == 0
    assert "this code / v1: 0.50 of the seconds, 0.60 of the CPU time" in capsys.readouterr().out
