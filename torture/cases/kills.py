"""Commands that are killed and interrupted at any moment: `data`, `train`, `export` and `bundle`.

Moments are drawn evenly over the time that a command takes when nobody interrupts it. Every other kill
takes the main process alone, so that converters must notice.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from torture.support import file_checks, processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

ENDING_SECONDS = 5.0
"""Seconds that a command has to end after SIGINT or SIGTERM."""

STARTUP_SECONDS = 0.4
"""Seconds in which Python itself starts, which answers signals in its own way."""

TRIES = 5
"""Times that a command is asked to end before it ends by itself."""

KILLS_IN_A_ROW = 2
"""Kills before a command may finish, so that commands are killed that go on after a kill."""


@dataclass(frozen=True)
class KilledCommand:
    """A command that writes into `out`, with a cache beside it, and the hashes it has to end with."""

    arguments: Sequence[object]
    out: Path
    seconds: float
    expected: dict[str, str]
    resume: Sequence[str] = ()

    @property
    def cache(self) -> Path:
        return self.out.parent / "cache"

    def run(
        self, workspace: Workspace, more_arguments: Sequence[str] = (), **options: float
    ) -> processes.ProcessResult:
        """Run it, resumed where a kill left it, in an environment with that cache."""
        env = {"TLEDGE_CACHE": str(self.cache)}
        return workspace.tledge(*self.arguments, *more_arguments, "--quiet", env=env, **options)  # type: ignore[arg-type]


@dataclass
class KillCounts:
    """How many kills there were, and what fell short."""

    kills: int = 0
    alone: int = 0
    finished: int = 0
    shortfalls: list[str] = field(default_factory=list)


def _kill(target: KilledCommand, workspace: Workspace, rng: Random, counts: KillCounts) -> None:
    """Kill it at some moment: no half-made or missing file, and no process that continues."""
    before = file_checks.hashes(target.out).keys() & target.expected.keys()
    moment, leader = rng.uniform(0.0, target.seconds), bool(counts.kills % 2)
    more_arguments = target.resume if target.out.exists() else ()
    result = target.run(
        workspace, more_arguments, kill_after=moment, with_signal=signal.SIGKILL, leader=leader
    )
    if result.code != -signal.SIGKILL:  # it was faster this time
        counts.shortfalls += [f"{target.arguments[0]} after kills: {result.tail}"] * bool(result.code)
        return
    counts.kills, counts.alone = counts.kills + 1, counts.alone + leader
    faults = [f"{result.orphans} processes went on without it"] * bool(result.orphans)
    faults += [f"{name} is gone" for name in sorted(before - file_checks.hashes(target.out).keys())]
    for folder in dict.fromkeys((target.out, target.cache)):
        faults += file_checks.incomplete_files(folder, set(target.expected.values()))
        faults += [f"{name} was written afterwards" for name in file_checks.changed_since(folder, result.at)]
    counts.shortfalls += [f"{target.arguments[0]} killed after {moment:.2f} s: {fault}" for fault in faults]


def _finish(target: KilledCommand, workspace: Workspace, counts: KillCounts) -> None:
    """Let it end by itself; all has to be as if nobody had ever killed it."""
    result = target.run(workspace, target.resume if target.out.exists() else ())
    counts.finished += not result.code
    faults = [result.tail] * bool(result.code)
    faults += [
        f"{name} differs"
        for name in file_checks.differing_names(file_checks.hashes(target.out), target.expected)
    ]
    for folder in dict.fromkeys((target.out, target.cache)):
        faults += file_checks.incomplete_files(folder, set(target.expected.values()))
        faults += [f"{name} is left" for name in file_checks.temporary_names(folder)]
    counts.shortfalls += [f"{target.arguments[0]} after kills: {fault}" for fault in faults]


def _kill_and_finish(
    begin: Callable[[], KilledCommand], kills: int, workspace: Workspace, case: str
) -> Observation:
    """Kill and finish, from a new beginning each time, until there were enough kills."""
    rng, counts = workspace.rng(case), KillCounts()
    while counts.kills < kills:
        target = begin()
        for _time in range(min(KILLS_IN_A_ROW, kills - counts.kills)):
            _kill(target, workspace, rng, counts)
        _finish(target, workspace, counts)
    summary = (
        f"{counts.kills} kills within {target.seconds:.1f} s, {counts.alone} of the main process alone; "
        f"{counts.finished} times finished to the same {len(target.expected)} files"
    )
    return Observation(summary, tuple(counts.shortfalls), kills=counts.kills)


def _data(workspace: Workspace) -> Observation:
    """Compare the cache too: `data` resumes from photos that were preprocessed before the kill."""

    def begin(seconds: float = 0.0, expected: dict[str, str] | None = None) -> KilledCommand:
        folder = workspace.folder("kills-data")
        arguments = ("data", workspace.recipe(folder), "--out", folder / "cache" / "sheets")
        return KilledCommand(arguments, folder / "cache", seconds, expected or {})

    target = begin()
    result = target.run(workspace)
    expected = file_checks.hashes(target.out)
    return _kill_and_finish(
        lambda: begin(result.seconds, expected), workspace.count(10, 2), workspace, "kills data"
    )


def _train(workspace: Workspace) -> Observation:
    expected = {
        name: sha256 for name, sha256 in file_checks.hashes(workspace.run).items() if _is_trained(name)
    }

    def begin() -> KilledCommand:
        folder = workspace.folder("kills-train")
        arguments = ("train", workspace.recipe(folder), "--out", folder / "out")
        return KilledCommand(
            arguments, folder / "out", workspace.seconds_taken["train"], expected, ("--resume",)
        )

    return _kill_and_finish(begin, workspace.count(14, 1), workspace, "kills train")


def _is_trained(name: str) -> bool:
    """Check whether a file of the exported run existed after training."""
    evidence = ("evidence/calibration", "evidence/onnx", "evidence/tflite")
    return not name.startswith(("artifacts/", "bundle/", "calibration", "parity", "tiny-", *evidence))


def _export(workspace: Workspace) -> Observation:
    expected = file_checks.hashes(workspace.run)

    def begin() -> KilledCommand:
        out = workspace.own_run("kills-export")
        for name in expected:
            if not _is_trained(name):
                (out / name).unlink()
        for name in ("artifacts", "bundle", "logs"):
            shutil.rmtree(out / name)
        arguments = ("export", out, "--variant", "onnx-fp32")
        return KilledCommand(arguments, out, workspace.seconds_taken["export"], expected)

    return _kill_and_finish(begin, workspace.count(10, 1), workspace, "kills export")


def _bundle(workspace: Workspace) -> Observation:
    """Replace the bundle by the same one, so it must never be missing."""
    expected, seconds = (
        file_checks.hashes(workspace.run),
        workspace.run_successfully("bundle", workspace.own_run("kills-bundle")).seconds,
    )

    def begin() -> KilledCommand:
        out = workspace.own_run("kills-bundle")
        return KilledCommand(("bundle", out), out, seconds, expected)

    return _kill_and_finish(begin, workspace.count(10, 2), workspace, "kills bundle")


@dataclass(frozen=True)
class InterruptedCommand:
    """A command that is interrupted, and the seconds that it takes when nobody does.

    It `says` what to type, and ends with `code`, or with what a shell makes of the signal.
    """

    arguments: Sequence[object]
    seconds: float
    advice: str
    code: int | None = None


def _interrupted_commands(workspace: Workspace, folder: Path, run: Path) -> list[InterruptedCommand]:
    recipe, took = workspace.recipe(folder), workspace.seconds_taken
    quick = [("data", recipe, "--out", folder / "sheets"), ("verify", run), ("bundle", run)]
    slow = {
        "train": (took["train"], (recipe, "--out", folder / "run")),
        "export": (took["export"], (run, "--force", "--variant", "onnx-fp32")),
        "bench": (5.0, (run,)),
    }
    interrupted = [
        InterruptedCommand(
            arguments, workspace.run_successfully(*arguments).seconds, f"with: tledge {arguments[0]}"
        )
        for arguments in quick
    ]
    interrupted += [
        InterruptedCommand((name, *rest), took, f"with: tledge {name}") for name, (took, rest) in slow.items()
    ]
    return [*interrupted, InterruptedCommand(("preview", run, "--no-browser"), 6.0, "Stopped.", code=0)]


def _interrupted(workspace: Workspace) -> Observation:
    """Send SIGINT and SIGTERM in turn, to the whole group as a terminal does and to the process alone."""
    folder, run = workspace.folder("kills-asked"), workspace.own_run("kills-asked-run")
    rng = workspace.rng("kills interrupted")
    shortfalls: list[str] = []
    slowest, count = 0.0, 0
    for command in _interrupted_commands(workspace, folder, run)[: workspace.count(7, 3)]:
        for number in range(workspace.count(4, 1)):
            name = (signal.SIGINT, signal.SIGTERM)[number % 2]
            result, moment = _interrupt(command, workspace, folder, rng, name, number > 1)
            count, slowest = count + 1, max(slowest, result.seconds - moment)
            faults = _interruption_faults(command, result, result.seconds - moment, name)
            for changed_folder in (folder, run):
                faults += [
                    f"leaves {name}"
                    for name in file_checks.temporary_names(changed_folder)
                    if "partial" not in name
                ]
            faults += file_checks.incomplete_files(run, set(file_checks.hashes(workspace.run).values()))
            shortfalls += [
                f"{command.arguments[0]}, {name.name} after {moment:.2f} s: {fault}" for fault in faults
            ]
    return Observation(
        f"{count} signals to {workspace.count(7, 3)} commands, ended within {slowest:.2f} s",
        tuple(shortfalls),
    )


def _interrupt(
    command: InterruptedCommand,
    workspace: Workspace,
    folder: Path,
    rng: Random,
    with_signal: int,
    leader: bool,
) -> tuple[processes.ProcessResult, float]:
    """Interrupt a command at some moment, again where it was faster; return its result and that moment."""
    env = {"TLEDGE_CACHE": str(folder / "cache")} if command.arguments[0] == "data" else None
    for _time in range(TRIES):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        shutil.rmtree(folder / "run", ignore_errors=True)
        moment = rng.uniform(min(STARTUP_SECONDS, command.seconds / 2), command.seconds)
        options = {"kill_after": moment, "with_signal": with_signal, "leader": leader}
        result = workspace.tledge(*command.arguments, env=env, **options)
        if result.code or command.code is not None:
            break
    return result, moment


def _interruption_faults(
    command: InterruptedCommand, result: processes.ProcessResult, seconds: float, with_signal: int
) -> list[str]:
    """List what is wrong with how an interrupted command ended."""
    faults = []
    if result.code != (128 + with_signal if command.code is None else command.code):
        faults.append(result.tail)
    if seconds > ENDING_SECONDS:
        faults.append(f"took {seconds:.1f} s to end")
    if command.advice not in "".join(result.err.splitlines()[-1:]):
        faults.append(f"says nothing of how to go on: {result.err[-300:]!r}")
    if result.crashed or "Error" in result.err:
        faults.append(f"shows its insides: {result.err[-600:]!r}")
    if result.orphans:
        faults.append(f"{result.orphans} processes went on")
    return faults


CASES = (
    Case("data", "whole files at any moment, and it goes on to the same cache and sheets", _data),
    Case("train", "whole files at any moment, and --resume ends with the same model", _train, reduced=False),
    Case("export", "whole files at any moment, and the same artifacts and bundle in the end", _export),
    Case("bundle", "whole files at any moment, and the same bundle in the end", _bundle),
    Case("interrupted", "SIGINT and SIGTERM: out within 5 s, with a line on what to type", _interrupted),
)
