"""Commands that the kernel kills for memory, the command itself or a process that it started."""

from __future__ import annotations

import signal

from torture.support import memory_group, processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

STAGES = (
    ("export", ("export", "RUN", "--force", "--quiet"), (150, 250)),
    ("predict", ("predict", "RUN/bundle", "RUN/golden/00.jpg"), (30, 45)),
    ("verify", ("verify", "RUN/bundle", "--quiet"), (50, 70)),
    ("bundle", ("bundle", "RUN"), (50, 90)),
    ("report", ("report", "RUN"), (30, 60)),
    ("bench", ("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"), (60, 75)),
    ("data", ("data", "RECIPE", "--quiet"), (20, 30)),
    ("train", ("train", "RECIPE", "--out", "NEW", "--force", "--quiet"), (200, 350)),
)
"""Commands, and MiB that they and their processes have together."""


def killed_for_memory(workspace: Workspace) -> Observation:
    """Give every stage less memory than it takes; then as much as it wants."""
    folder, run = workspace.folder("memory-kills"), workspace.own_run("memory-kills-run")
    recipe = workspace.recipe(folder, train=120, epochs=1)
    places = {"RUN": run, "RECIPE": recipe, "NEW": folder / "new"}
    shortfalls, kills, told, count = list[str](), 0, 0, 0
    for name, template, limits in STAGES[: workspace.count(len(STAGES), 1)]:
        command = [_replaced(part, places) for part in template]
        before = temporary_disk.file_hashes(run)
        for limit in limits[: workspace.count(len(limits), 1)]:
            with memory_group.limited(limit) as prefix:
                environment = {**workspace.env, "TLEDGE_CACHE": str(folder / "cache")}
                result = processes.run([*prefix, *processes.TLEDGE, *command], environment, folder)
            kills, count = kills + (result.code == -signal.SIGKILL), count + 1
            told += "memory" in result.err
            shortfalls += [f"{name}, {limit} MiB: {fault}" for fault in _faults(result)]
        after = workspace.tledge(*command, cwd=folder, env={"TLEDGE_CACHE": str(folder / "cache")})
        shortfalls += [f"{name} with memory: {after.tail}"] * bool(after.code not in (0, 2))
        shortfalls += temporary_disk.lost_files(before, run, temporary_disk.file_hashes(run))
        shortfalls += [f"{name} left {path}" for path in temporary_disk.temporary_names(run)]
    summary = f"{count} commands: {kills} killed themselves, {told} told of a process killed for memory"
    return Observation(summary, tuple(shortfalls), kills=kills + told)


def _replaced(part: str, places: dict[str, object]) -> str:
    for name, place in places.items():
        part = part.replace(name, str(place))
    return part


def _faults(result: processes.ProcessResult) -> list[str]:
    """List what falls short: the kernel kills a command without words, but not what it started."""
    if result.hung or processes.TRACEBACK in result.err:
        return [result.tail]
    if result.code in (0, -signal.SIGKILL) or "memory" in result.err:
        return []
    return [f"does not tell of memory: {result.tail}"]


CASES: tuple[Case, ...] = (
    Case(
        "killed by the kernel for memory",
        "a process that a command started is named; files are whole, and it finishes with more memory",
        killed_for_memory,
    ),
)
