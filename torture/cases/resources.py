"""Short memory, conversions that hang, native code that crashes; `full_disks` holds full disks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from torture.cases import full_disks, memory_kills
from torture.support import process_signals, processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace


def little_memory(workspace: Workspace) -> Observation:
    """Limit the address space that converters may take, by the recipe and by the shell."""
    run = workspace.own_run("memory-run")
    limits = (1000,) if workspace.reduced else (300, 600, 1000, 1400, 1800, 2200)
    shortfalls: list[str] = []
    results: list[processes.ProcessResult] = []
    for limit in limits:
        _set_export_key(run, "memory_mib", limit)
        results.append(workspace.tledge("export", run, "--force", "--quiet"))
        shortfalls += _cause_faults(results[-1], "out of memory")
    _set_export_key(run, "memory_mib", 0)
    for limit in () if workspace.reduced else (1000, 2000):
        results.append(workspace.tledge("export", run, "--force", "--quiet", memory=limit))
        shortfalls += _cause_faults(results[-1], "out of memory")
    if not workspace.reduced:
        results.append(workspace.tledge("export", run, "--force", "--quiet"))
        shortfalls += [results[-1].tail] if results[-1].code else []
    named = sum("out of memory" in result.err for result in results)
    return Observation(
        f"{named} of {len(results)} exports ran out of memory and said so",
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        peak=max(result.peak for result in results),
    )


def _set_export_key(run: Path, name: str, value: int) -> None:
    """Change a key of [export] in a run's recipe."""
    lines = (run / "recipe.toml").read_text(encoding="utf-8").splitlines()
    kept_lines = [line for line in lines if not line.startswith(f"{name} =")]
    kept_lines.insert(kept_lines.index("[export]") + 1, f"{name} = {value}")
    (run / "recipe.toml").write_text("\n".join(kept_lines) + "\n", encoding="utf-8")


def _cause_faults(result: processes.ProcessResult, *words: str, code: int = 1) -> list[str]:
    """List where an end is not the expected one, or does not print all `words`."""
    missing = [word for word in words if word not in result.err + result.out]
    if result.code == code and not missing and not result.crashed and not result.hung:
        return []
    return [f"no {missing}: exit {result.code}: {result.err[-400:]}" if missing else result.tail]


def hit_converters(workspace: Workspace) -> Observation:
    """Signal converters at random moments: crashes, the kernel's killing, and a stop without end."""
    run = workspace.own_run("struck-run")
    before = temporary_disk.file_hashes(run)
    rng = workspace.rng("struck converter")
    signals = {
        signal.SIGSEGV: ("crashed (SIGSEGV)", "Log: "),
        signal.SIGKILL: ("was killed (SIGKILL), usually because memory ran out", "Log: "),
        signal.SIGABRT: ("crashed (SIGABRT)", "Log: "),
        signal.SIGBUS: ("crashed (SIGBUS)", "Log: "),
        signal.SIGSTOP: ("took more than 4 s and was stopped", "Increase [export] timeout"),
    }
    sent_signals = (signal.SIGSEGV, signal.SIGSTOP) if workspace.reduced else (*signals, *signals)
    shortfalls: list[str] = []
    results: list[processes.ProcessResult] = []
    for number, sent_signal in enumerate(sent_signals):
        _set_export_key(run, "timeout", 4 if sent_signal == signal.SIGSTOP else 900)
        mark = f"struck-{number}-{os.getpid()}"
        with process_signals.signal_process(
            "tledge.formats.worker", sent_signal, mark, rng.uniform(0, 1.5)
        ) as hit_processes:
            results.append(
                workspace.tledge("export", run, "--force", "--quiet", env={process_signals.MARK: mark})
            )
        faults = (
            _cause_faults(results[-1], *signals[sent_signal]) if hit_processes else ["no converter was seen"]
        )
        if results[-1].seconds > 60:
            faults.append(f"only after {results[-1].seconds:.0f} s")
        faults += [f"process {process} was left" for process in process_signals.marked_processes(mark)]
        faults += temporary_disk.lost_files(before, run, before)
        shortfalls += [f"{signal.Signals(sent_signal).name}: {fault}" for fault in faults]
    return Observation(
        f"{len(results)} converters hit, each cause named, earlier artifacts whole",
        tuple(shortfalls),
        kills=len(results),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


OTHER_PROCESSES = (
    (
        ("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"),
        "tledge.inference.bench_worker",
        4,
    ),
    (("bundle", "RUN", "--target", "microcontroller"), "tledge.devices.tflite_micro_worker", 4),
    (("bundle", "RUN", "--target", "microcontroller"), "ethosu.vela", 4),
    (("doctor",), "tledge.environment.gpu_probe", 0),
)
"""Commands, a module that they run in a process of its own, and the exit code where it crashes."""


def hit_other_processes(workspace: Workspace) -> Observation:
    """Crash the other processes: benchmarks, tflite-micro, Vela, the probe of libraries."""
    shortfalls: list[str] = []
    results: list[processes.ProcessResult] = []
    for number, (command, module, code) in enumerate(
        OTHER_PROCESSES[:1] if workspace.reduced else OTHER_PROCESSES
    ):
        run = workspace.own_run("struck-other")
        mark = f"other-{number}-{os.getpid()}"
        with process_signals.signal_process(module, signal.SIGSEGV, mark, 0.2) as hit_processes:
            arguments = [str(run) if part == "RUN" else part for part in command]
            results.append(workspace.tledge(*arguments, env={process_signals.MARK: mark}))
        faults = _cause_faults(results[-1], "SIGSEGV", code=code) if hit_processes else ["was not seen"]
        shortfalls += [
            f"{module}: {fault}" for fault in (*faults, *map(str, process_signals.marked_processes(mark)))
        ]
    return Observation(
        f"{len(results)} processes crashed, each was named",
        tuple(shortfalls),
        kills=len(results),
        crashes=sum(result.crashed for result in results),
        peak=max(result.peak for result in results),
    )


WRITERS: tuple[tuple[str, ...], ...] = (
    ("bundle", "RUN"), ("report", "RUN"), ("data", "tiny.toml"), ("export", "RUN", "--force", "--int8"),
    ("train", "tiny.toml", "--out", "new"), ("bundle", "RUN", "--target", "raspberry_pi"), ("verify", "RUN"),
)  # fmt: skip
"""Commands that write a file of more than `SMALL_FILE` KiB."""

SMALL_FILE = 20


def small_files(workspace: Workspace) -> Observation:
    """Limit the size of files (ulimit -f): the limit is named, and no disk is called full."""
    run = workspace.own_run("small-files")
    workspace.recipe(run.parent)
    shell = ["bash", "-c", f'ulimit -f {SMALL_FILE}; exec "$@"', "bash"]
    results, shortfalls = [], list[str]()
    for command in WRITERS[: workspace.count(len(WRITERS), 2)]:
        arguments = [part.replace("RUN", str(run)) for part in command]
        env = {**workspace.env, "TLEDGE_CACHE": str(run.parent / "cache")}
        results.append(processes.run([*shell, *processes.TLEDGE, *arguments], env, run.parent))
        faults = _cause_faults(results[-1], "size limit of files", "ulimit -f")
        faults += ["a disk is called full"] if "disk is full" in results[-1].err else []
        shortfalls += [f"{command[0]}: {fault}" for fault in faults]
    return Observation(
        f"{len(results)} commands whose files may have {SMALL_FILE} KiB",
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


WARNED: tuple[tuple[str, ...], ...] = (
    ("predict", "RUN/bundle", "PHOTO"), ("verify", "RUN/bundle"), ("list", "runs"), ("report", "RUN"),
    ("inspect", "RUN/artifacts/onnx-fp32.onnx"), ("bundle", "RUN"), ("doctor",),
    ("export", "RUN", "--force", "--int8"),
    ("train", "tiny.toml", "--out", "new"), ("compare", "RUN", "RUN"), ("bench", "RUN", "--threads", "1"),
    ("inspect", "RUN/artifacts/tflite-int8.tflite"),
    ("data", "tiny.toml", "--out", "sheets"), ("verify", "RUN"), ("verify", "RUN", "--skew"),
    ("predict", "RUN", "PHOTO", "--variant", "onnx-fp32"), ("inspect", "RUN", "--quantization"),
    ("bundle", "RUN", "--target", "microcontroller"), ("predict", "RUN", "PHOTO", "--json"),
)  # fmt: skip
"""Commands that have to work where every warning of a library is an error."""


def warnings_as_errors(workspace: Workspace) -> Observation:
    """Let Python turn warnings into errors, as a shell's profile or a CI may: commands work."""
    run = workspace.own_run("warnings")
    workspace.recipe(run.parent, train=120, epochs=1)
    photo = str(sorted((run / "golden").glob("*.png"))[0])
    results, shortfalls = [], list[str]()
    for command in WARNED:
        arguments = [part.replace("RUN", str(run)).replace("PHOTO", photo) for part in command]
        results.append(workspace.tledge(*arguments, cwd=run.parent, env={"PYTHONWARNINGS": "error"}))
        if results[-1].code or results[-1].crashed:
            shortfalls.append(f"{' '.join(command)}: {results[-1].tail}")
    return Observation(
        f"{len(results)} commands",
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


CAUSE_IS_NAMED = "the cause is named with its log's last words; what was there before is whole"

CASES: tuple[Case, ...] = (
    *full_disks.CASES,
    *memory_kills.CASES,
    Case("little memory for converters", "named, with how to go on", little_memory),
    Case("converters crash, are killed, hang", CAUSE_IS_NAMED, hit_converters),
    Case("other processes crash", CAUSE_IS_NAMED, hit_other_processes, reduced=False),
    Case("files that may not be large", "the limit is named, and no disk is called full", small_files),
    Case("warnings that are errors", "every command works", warnings_as_errors, reduced=False),
)
