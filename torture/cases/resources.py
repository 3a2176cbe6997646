"""Disks that are full, memory that is short, conversions that hang, native code that crashes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from torture.cases import full_disks
from torture.support import process_signals, processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace


def little_memory(workspace: Workspace) -> Observation:
    """Limit the address space that converters may take, by the recipe and by the shell."""
    run = workspace.own_run("memory-run")
    limits = (1000,) if workspace.reduced else (300, 600, 1000, 1400, 1800, 2200)
    shortfalls: list[str] = []
    ends: list[processes.ProcessResult] = []
    for limit in limits:
        _set(run, "memory_mib", limit)
        ends.append(workspace.tledge("export", run, "--quiet"))
        shortfalls += _unnamed(ends[-1], "out of memory")
    _set(run, "memory_mib", 0)
    for limit in () if workspace.reduced else (1000, 2000):
        ends.append(workspace.tledge("export", run, "--quiet", memory=limit))
        shortfalls += _unnamed(ends[-1], "out of memory")
    if not workspace.reduced:
        ends.append(workspace.tledge("export", run, "--quiet"))
        shortfalls += [ends[-1].tail] if ends[-1].code else []
    named = sum("out of memory" in one.err for one in ends)
    return Observation(
        f"{named} of {len(ends)} exports ran out of memory and said so",
        tuple(shortfalls),
        crashes=sum(one.crashed for one in ends),
        peak=max(one.peak for one in ends),
    )


def _set(run: Path, name: str, value: int) -> None:
    """Change a key of [export] in a run's recipe."""
    lines = (run / "recipe.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{name} =")]
    kept.insert(kept.index("[export]") + 1, f"{name} = {value}")
    (run / "recipe.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")


def _unnamed(ended: processes.ProcessResult, *words: str, code: int = 1) -> list[str]:
    """Where an end is not the expected one, or does not say all `words`."""
    missing = [word for word in words if word not in ended.err + ended.out]
    if ended.code == code and not missing and not ended.crashed and not ended.hung:
        return []
    return [f"no {missing}: exit {ended.code}: {ended.err[-400:]}" if missing else ended.tail]


def struck(workspace: Workspace) -> Observation:
    """Hit converters at random moments: crashes, the kernel's killing, and a stop that never goes on."""
    run = workspace.own_run("struck-run")
    before = temporary_disk.files(run)
    chance = workspace.chance("struck converter")
    signals = {
        signal.SIGSEGV: ("crashed (SIGSEGV)", "Log: "),
        signal.SIGKILL: ("was killed (SIGKILL), often for want of memory", "Log: "),
        signal.SIGABRT: ("crashed (SIGABRT)", "Log: "),
        signal.SIGBUS: ("crashed (SIGBUS)", "Log: "),
        signal.SIGSTOP: ("took more than 4 s and was stopped", "Raise [export] timeout"),
    }
    tried = (signal.SIGSEGV, signal.SIGSTOP) if workspace.reduced else (*signals, *signals)
    shortfalls: list[str] = []
    ends: list[processes.ProcessResult] = []
    for number, one in enumerate(tried):
        _set(run, "timeout", 4 if one == signal.SIGSTOP else 900)
        mark = f"struck-{number}-{os.getpid()}"
        with process_signals.hit("tledge.formats", one, mark, chance.uniform(0, 1.5)) as found:
            ends.append(workspace.tledge("export", run, "--quiet", env={process_signals.MARK: mark}))
        faults = _unnamed(ends[-1], *signals[one]) if found else ["no converter was seen"]
        if ends[-1].seconds > 60:
            faults.append(f"only after {ends[-1].seconds:.0f} s")
        faults += [f"process {left} was left" for left in process_signals.of(mark)]
        faults += temporary_disk.lost(before, run, before)
        shortfalls += [f"{signal.Signals(one).name}: {fault}" for fault in faults]
    return Observation(
        f"{len(ends)} converters hit, each cause named, earlier artifacts whole",
        tuple(shortfalls),
        kills=len(ends),
        crashes=sum(one.crashed for one in ends),
        hangs=sum(one.hung for one in ends),
        peak=max(one.peak for one in ends),
    )


STRUCK = (
    (("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"), "tledge.bench_worker", 4),
    (("bundle", "RUN", "--target", "microcontroller"), "tledge.arena_worker", 4),
    (("bundle", "RUN", "--target", "microcontroller"), "ethosu.vela", 4),
    (("doctor",), "tledge.probe_worker", 0),
)
"""Commands, a module that they run in a process of its own, and the exit code where it crashes."""


def struck_others(workspace: Workspace) -> Observation:
    """Hit the other processes: what measures, what runs tflite-micro, Vela, what loads a library."""
    shortfalls: list[str] = []
    ends: list[processes.ProcessResult] = []
    for number, (command, module, code) in enumerate(STRUCK[:1] if workspace.reduced else STRUCK):
        run = workspace.own_run("struck-other")
        mark = f"other-{number}-{os.getpid()}"
        with process_signals.hit(module, signal.SIGSEGV, mark, 0.2) as found:
            arguments = [str(run) if part == "RUN" else part for part in command]
            ends.append(workspace.tledge(*arguments, env={process_signals.MARK: mark}))
        faults = _unnamed(ends[-1], "SIGSEGV", code=code) if found else ["was not seen"]
        shortfalls += [f"{module}: {fault}" for fault in (*faults, *map(str, process_signals.of(mark)))]
    return Observation(
        f"{len(ends)} processes crashed, each was named",
        tuple(shortfalls),
        kills=len(ends),
        crashes=sum(one.crashed for one in ends),
        peak=max(one.peak for one in ends),
    )


NAMED = "the cause is named with its log's last words; what was there before is whole"

CASES: tuple[Case, ...] = (
    *full_disks.CASES,
    Case("little memory for converters", "named, with how to go on", little_memory),
    Case("converters crash, are killed, hang", NAMED, struck),
    Case("other processes crash", NAMED, struck_others, reduced=False),
)
