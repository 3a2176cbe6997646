"""The torture runner: what falls short is told and ends non-zero, and processes are judged by their end."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT
from torture import runner
from torture.cases import long_runs
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import Workspace


def raising(error: Exception) -> Any:
    def run(workspace: Workspace) -> Observation:
        raise error

    return run


GOOD = Case("good", "all is well", lambda _workspace: Observation("seen", kills=3, files=5, peak=100))
ENDS = {
    "holds": GOOD,
    "says so": Case("short", "nothing", lambda _workspace: Observation("", ("it fell",))),
    "crashed": Case("crash", "nothing", lambda _workspace: Observation("", crashes=1)),
    "hung": Case("hang", "nothing", lambda _workspace: Observation("", hangs=1)),
    "broke": Case("broke", "nothing", raising(ValueError("own error"))),
    "lacks": Case("lacks", "nothing", raising(CannotRun("no tmpfs"))),
}


@pytest.mark.parametrize("name", ENDS)
def test_verdict_of_a_case(name: str, tmp_path: Path) -> None:
    found = runner.run_case("kills", ENDS[name], Workspace(tmp_path, reduced=True))
    wanted = {"holds": "holds", "lacks": "cannot run"}.get(name, "FALLS SHORT")
    assert found.verdict == wanted
    assert ("own error" in str(found.observation.shortfalls)) == (name == "broke")


@pytest.mark.parametrize("name", ENDS)
def test_exit_code_and_figures(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = type("Cases", (), {"CASES": (GOOD, ENDS[name])})
    monkeypatch.setattr(runner, "import_module", lambda _name: cases)
    out = tmp_path / "results.json"
    code = runner.main(["--only", "kills", "--out", str(out), "--work", str(tmp_path)])
    assert code == (0 if name == "holds" else 1)
    written = json.loads(out.read_text())["cases"]
    assert [one["name"] for one in written] == ["good", ENDS[name].name]
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("│ all"))
    kills = 3 * (1 + (name == "holds"))
    assert row.split("│")[3:6] == [f" {2:>5} ", f" {int(name != 'holds'):>5} ", f" {kills:>5} "]


def test_interrupt_shows_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_workspace: Workspace) -> Observation:
        raise KeyboardInterrupt

    cases = type("Cases", (), {"CASES": (GOOD, Case("interrupted", "nothing", interrupted))})
    monkeypatch.setattr(runner, "import_module", lambda _name: cases)
    work = tmp_path / "work"
    work.mkdir()
    out = tmp_path / "r.json"
    assert runner.main(["--only", "kills", "--out", str(out), "--work", str(work)]) == 130
    assert "all" in capsys.readouterr().out and not list(work.iterdir())


def test_peak_is_not_that_of_who_started_it() -> None:
    """Linux hands it down: a child shares the memory of its starter until it begins its own program."""
    held = b"x" * (600 << 20)
    del held
    assert 3 < python("import time; time.sleep(0.3)").peak < 200
    assert python("import time; held = b'x' * (3 << 28); time.sleep(0.2)").peak > 700


def test_interrupt_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on in a folder that is about to be removed."""
    started: list[int] = []

    def interrupted(pid: int) -> None:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes.run([sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    for one in threading.enumerate():
        if isinstance(one, threading.Timer):
            one.join(5)
            assert not one.is_alive()


def test_nothing_chosen_is_no_success(tmp_path: Path) -> None:
    none = ["--only", "kills", "--case", "no such", "--out", str(tmp_path / "r.json")]
    assert runner.main(none) == 1
    with pytest.raises(SystemExit):
        runner.main(["--only", "floods"])


def test_boundary_selects_its_groups() -> None:
    assert runner._parse_groups("signatures,cache,bundle") == ["bundles", "signatures", "caches"]


def test_every_boundary_has_groups() -> None:
    assert list(runner.BOUNDARIES) == list(
        dict.fromkeys(boundary for boundary, _meaning in runner.GROUPS.values())
    )


def test_every_group_has_cases_of_its_own() -> None:
    from importlib import import_module

    for group in runner.GROUPS:
        cases = import_module(f"torture.cases.{group}").CASES
        assert cases and len({one.name for one in cases}) == len(cases), group
        assert any(one.reduced for one in cases), group


def python(text: str, **options: Any) -> processes.ProcessResult:
    return processes.run([sys.executable, "-c", text], os.environ, **options)


def test_end_of_a_process() -> None:
    fine = python("print('yes'); import sys; sys.exit(3)")
    assert (fine.code, fine.out.strip(), fine.crashed, fine.hung) == (3, "yes", False, False)
    assert fine.tail == "exit 3: yes"
    assert python("import os; os.abort()").crashed
    assert python("1 / 0").crashed  # nobody caught it
    stuck = python("import time; time.sleep(60)", timeout=0.5)
    assert stuck.hung and stuck.code == -9 and stuck.seconds < 10


def test_children_left_behind_are_ended(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    keeps_writing = f"import time\nwhile True:\n open({str(path)!r}, 'a').write('.'); time.sleep(.05)"
    python(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {keeps_writing!r}])\n"
        "time.sleep(1)"
    )
    size = path.stat().st_size
    time.sleep(0.3)
    assert size and path.stat().st_size == size


def test_memory_is_measured_and_limited() -> None:
    held = python(
        "import time\nheld = bytearray(200 << 20)\n"
        "for n in range(0, len(held), 4096): held[n] = 1\ntime.sleep(.3)"
    )
    assert held.peak > 200 and held.own > 200
    shortfalls = python("bytearray(800 << 20)", memory=400)
    assert shortfalls.code == 1 and "MemoryError" in shortfalls.err


def rounds(**grown: float) -> list[dict[str, float]]:
    flat = {
        "seconds": 1.0,
        "own": 300.0,
        "files": 20,
        "threads": 2,
        "children": 600.0,
        "bytes": 1e6,
        "temporary": 0,
    }
    return [
        {name: value + number * grown.get(name, 0) for name, value in flat.items()} for number in range(50)
    ]


def test_growth_is_seen() -> None:
    assert long_runs.growth(rounds()) == []
    assert long_runs.growth(rounds(own=0.5)) == []  # 25 MiB in all
    for name, step in {
        "own": 2,
        "children": 2,
        "files": 1,
        "threads": 1,
        "bytes": 1000,
        "temporary": 1,
    }.items():
        assert [line.split()[0] for line in long_runs.growth(rounds(**{name: step}))] == [name]


def test_every_boundary_of_the_security_page_is_tried() -> None:
    """In the page's order, with all groups of each; that each has cases is tested above."""
    page = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    tried = {row[1].strip(" `"): re.findall(r"`(\w+)`", row[5]) for row in rows}
    assert list(tried) == list(runner.BOUNDARIES)
    assert tried == {
        boundary: [group for group, (at, _meaning) in runner.GROUPS.items() if at == boundary]
        for boundary in runner.BOUNDARIES
    }


def test_page_names_every_case() -> None:
    from importlib import import_module

    page = (ROOT / "docs" / "explanation" / "torture.md").read_text(encoding="utf-8")
    rows = {tuple(cell.strip() for cell in line.split("|")[3:5]) for line in page.splitlines()}
    for group in runner.GROUPS:
        assert f"| `{group}` |" in page
        assert [
            one.name
            for one in import_module(f"torture.cases.{group}").CASES
            if (one.name, one.holds) not in rows
        ] == []
