"""Killed and interrupted at any moment of `data`, `train`, `export` and `bundle`.

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

PROMPT = 5.0
"""Seconds that a command has to end after SIGINT or SIGTERM."""

STARTED = 0.4
"""Seconds in which Python itself starts, which answers signals in its own way."""

TRIES = 5
"""Times that a command is asked to end before it ends by itself."""

IN_A_ROW = 2
"""Kills before a command may finish, so that commands are killed that go on after a kill."""


@dataclass(frozen=True)
class Deed:
    """A command that writes into `out`, with a cache of its own beside it, and what it has to end with."""

    words: Sequence[object]
    out: Path
    seconds: float
    wanted: dict[str, str]
    resume: Sequence[str] = ()

    @property
    def cache(self) -> Path:
        return self.out.parent / "cache"

    def run(self, workspace: Workspace, more: Sequence[str] = (), **how: float) -> processes.ProcessResult:
        """Run it, going on where a kill left it, in an environment with that cache."""
        env = {"TLEDGE_CACHE": str(self.cache)}
        return workspace.tledge(*self.words, *more, "--quiet", env=env, **how)  # type: ignore[arg-type]


@dataclass
class Tally:
    """What became of kills."""

    kills: int = 0
    alone: int = 0
    finished: int = 0
    shortfalls: list[str] = field(default_factory=list)


def _kill(deed: Deed, workspace: Workspace, chance: Random, tally: Tally) -> None:
    """Kill it at some moment: nothing half-made may stand or be missing, and nobody may go on without it."""
    before = file_checks.hashes(deed.out).keys() & deed.wanted.keys()
    moment, leader = chance.uniform(0.0, deed.seconds), bool(tally.kills % 2)
    more = deed.resume if deed.out.exists() else ()
    ended = deed.run(workspace, more, kill_after=moment, with_signal=signal.SIGKILL, leader=leader)
    if ended.code != -signal.SIGKILL:  # it was faster this time
        tally.shortfalls += [f"{deed.words[0]} after kills: {ended.tail}"] * bool(ended.code)
        return
    tally.kills, tally.alone = tally.kills + 1, tally.alone + leader
    seen = [f"{ended.orphans} processes went on without it"] * bool(ended.orphans)
    seen += [f"{one} is gone" for one in sorted(before - file_checks.hashes(deed.out).keys())]
    for place in dict.fromkeys((deed.out, deed.cache)):
        seen += file_checks.broken(place, set(deed.wanted.values()))
        seen += [f"{one} was written afterwards" for one in file_checks.since(place, ended.at)]
    tally.shortfalls += [f"{deed.words[0]} killed after {moment:.2f} s: {one}" for one in seen]


def _finish(deed: Deed, workspace: Workspace, tally: Tally) -> None:
    """Let it end by itself; all has to be as if nobody had ever killed it."""
    ended = deed.run(workspace, deed.resume if deed.out.exists() else ())
    tally.finished += not ended.code
    seen = [ended.tail] * bool(ended.code)
    seen += [f"{one} differs" for one in file_checks.differing(file_checks.hashes(deed.out), deed.wanted)]
    for place in dict.fromkeys((deed.out, deed.cache)):
        seen += file_checks.broken(place, set(deed.wanted.values()))
        seen += [f"{one} is left" for one in file_checks.temporary(place)]
    tally.shortfalls += [f"{deed.words[0]} after kills: {one}" for one in seen]


def _tried(begin: Callable[[], Deed], kills: int, workspace: Workspace, case: str) -> Observation:
    """Kill and finish, from a new beginning each time, until there were enough kills."""
    chance, tally = workspace.chance(case), Tally()
    while tally.kills < kills:
        deed = begin()
        for _time in range(min(IN_A_ROW, kills - tally.kills)):
            _kill(deed, workspace, chance, tally)
        _finish(deed, workspace, tally)
    said = (
        f"{tally.kills} kills within {deed.seconds:.1f} s, {tally.alone} of the main process alone; "
        f"{tally.finished} times finished to the same {len(deed.wanted)} files"
    )
    return Observation(said, tuple(tally.shortfalls), kills=tally.kills)


def _data(workspace: Workspace) -> Observation:
    """The cache is compared too: it goes on from photos that were prepared before the kill."""

    def begin(seconds: float = 0.0, wanted: dict[str, str] | None = None) -> Deed:
        folder = workspace.folder("kills-data")
        words = ("data", workspace.recipe(folder), "--out", folder / "cache" / "sheets")
        return Deed(words, folder / "cache", seconds, wanted or {})

    whole = begin()
    ended = whole.run(workspace)
    wanted = file_checks.hashes(whole.out)
    return _tried(lambda: begin(ended.seconds, wanted), workspace.count(10, 2), workspace, "kills data")


def _train(workspace: Workspace) -> Observation:
    wanted = {name: one for name, one in file_checks.hashes(workspace.run).items() if _is_trained(name)}

    def begin() -> Deed:
        folder = workspace.folder("kills-train")
        words = ("train", workspace.recipe(folder), "--out", folder / "out")
        return Deed(words, folder / "out", workspace.took["train"], wanted, ("--resume",))

    return _tried(begin, workspace.count(14, 1), workspace, "kills train")


def _is_trained(name: str) -> bool:
    """Whether a file of the exported run was there when it was trained."""
    evidence = ("evidence/calibration", "evidence/onnx", "evidence/tflite")
    return not name.startswith(("artifacts/", "bundle/", "calibration", "parity", "tiny-", *evidence))


def _export(workspace: Workspace) -> Observation:
    wanted = file_checks.hashes(workspace.run)

    def begin() -> Deed:
        out = workspace.own_run("kills-export")
        for name in wanted:
            if not _is_trained(name):
                (out / name).unlink()
        for name in ("artifacts", "bundle", "logs"):
            shutil.rmtree(out / name)
        words = ("export", out, "--variant", "onnx-fp32")
        return Deed(words, out, workspace.took["export"], wanted)

    return _tried(begin, workspace.count(10, 1), workspace, "kills export")


def _bundle(workspace: Workspace) -> Observation:
    """The bundle that stood before is replaced by the same one, so it is never missing."""
    wanted, seconds = (
        file_checks.hashes(workspace.run),
        workspace.done("bundle", workspace.own_run("kills-bundle")).seconds,
    )

    def begin() -> Deed:
        out = workspace.own_run("kills-bundle")
        return Deed(("bundle", out), out, seconds, wanted)

    return _tried(begin, workspace.count(10, 2), workspace, "kills bundle")


@dataclass(frozen=True)
class Asked:
    """A command that is asked to end, and the seconds that it takes when nobody asks.

    It `says` what to type, and ends with `code`, or with what a shell makes of the signal.
    """

    words: Sequence[object]
    seconds: float
    says: str
    code: int | None = None


def _commands(workspace: Workspace, folder: Path, run: Path) -> list[Asked]:
    recipe, took = workspace.recipe(folder), workspace.took
    quick = [("data", recipe, "--out", folder / "sheets"), ("verify", run), ("bundle", run)]
    slow = {
        "train": (took["train"], (recipe, "--out", folder / "run")),
        "export": (took["export"], (run, "--variant", "onnx-fp32")),
        "bench": (5.0, (run,)),
    }
    asked = [Asked(one, workspace.done(*one).seconds, f"with: tledge {one[0]}") for one in quick]
    asked += [Asked((name, *rest), took, f"with: tledge {name}") for name, (took, rest) in slow.items()]
    return [*asked, Asked(("preview", run, "--no-browser"), 6.0, "Stopped.", code=0)]


def _interrupted(workspace: Workspace) -> Observation:
    """By turns SIGINT and SIGTERM, to the whole group as a terminal does and to the process alone."""
    folder, run = workspace.folder("kills-asked"), workspace.own_run("kills-asked-run")
    chance = workspace.chance("kills interrupted")
    shortfalls: list[str] = []
    slowest, count = 0.0, 0
    for one in _commands(workspace, folder, run)[: workspace.count(7, 3)]:
        for number in range(workspace.count(4, 1)):
            name = (signal.SIGINT, signal.SIGTERM)[number % 2]
            ended, moment = _asked(one, workspace, folder, chance, name, number > 1)
            count, slowest = count + 1, max(slowest, ended.seconds - moment)
            seen = _unclean(one, ended, ended.seconds - moment, name)
            for place in (folder, run):
                seen += [f"leaves {what}" for what in file_checks.temporary(place) if "partial" not in what]
            seen += file_checks.broken(run, set(file_checks.hashes(workspace.run).values()))
            shortfalls += [f"{one.words[0]}, {name.name} after {moment:.2f} s: {what}" for what in seen]
    return Observation(
        f"{count} signals to {workspace.count(7, 3)} commands, ended within {slowest:.2f} s",
        tuple(shortfalls),
    )


def _asked(
    one: Asked, workspace: Workspace, folder: Path, chance: Random, with_signal: int, leader: bool
) -> tuple[processes.ProcessResult, float]:
    """Ask a command to end at some moment, again where it was faster; how it ended, and that moment."""
    env = {"TLEDGE_CACHE": str(folder / "cache")} if one.words[0] == "data" else None
    for _time in range(TRIES):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        shutil.rmtree(folder / "run", ignore_errors=True)
        moment = chance.uniform(min(STARTED, one.seconds / 2), one.seconds)
        how = {"kill_after": moment, "with_signal": with_signal, "leader": leader}
        ended = workspace.tledge(*one.words, env=env, **how)
        if ended.code or one.code is not None:
            break
    return ended, moment


def _unclean(one: Asked, ended: processes.ProcessResult, seconds: float, with_signal: int) -> list[str]:
    """What is wrong with how a command ended that was asked to."""
    seen = []
    if ended.code != (128 + with_signal if one.code is None else one.code):
        seen.append(ended.tail)
    if seconds > PROMPT:
        seen.append(f"took {seconds:.1f} s to end")
    if one.says not in "".join(ended.err.splitlines()[-1:]):
        seen.append(f"says nothing of how to go on: {ended.err[-300:]!r}")
    if ended.crashed or "Error" in ended.err:
        seen.append(f"shows its insides: {ended.err[-600:]!r}")
    if ended.orphans:
        seen.append(f"{ended.orphans} processes went on")
    return seen


CASES = (
    Case("data", "whole files at any moment, and it goes on to the same cache and sheets", _data),
    Case("train", "whole files at any moment, and --resume ends with the same model", _train, reduced=False),
    Case("export", "whole files at any moment, and the same artifacts and bundle in the end", _export),
    Case("bundle", "whole files at any moment, and the same bundle in the end", _bundle),
    Case("interrupted", "SIGINT and SIGTERM: out within 5 s, with a line on what to type", _interrupted),
)
