"""Files larger than 4 GiB where small ones are expected; they are sparse, and take no room."""

from __future__ import annotations

from pathlib import Path

from torture.support.command_checks import observe
from torture.support.observation import Observation
from torture.support.workspace import Workspace

SIZE = 5 << 30
MOST_MEMORY = 700
"""MiB that a command may take at its peak; a file that was read would take 5120."""

HUGE: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("golden/00.jpg", ("predict", "RUN", "RUN/golden/00.jpg"), 1),
    ("bundle/onnx-fp32.onnx", ("predict", "RUN/bundle/onnx-fp32.onnx", "RUN/golden/01.jpg"), 4),
    ("bundle/tflite-int8.tflite", ("predict", "RUN/bundle", "RUN/golden/01.jpg"), 4),
    ("bundle/tflite-int8.tflite", ("inspect", "RUN/bundle/tflite-int8.tflite"), 4),
    ("bundle/manifest.json", ("verify", "RUN/bundle"), 4),
    ("ZIP", ("predict", "ZIP", "RUN/golden/01.jpg"), 4),
    ("run.json", ("report", "RUN"), 1),
    ("golden.npz", ("verify", "RUN", "--quiet"), 1),
    ("golden.npz", ("bundle", "RUN"), 1),
    ("recipe.toml", ("export", "RUN", "--quiet"), 2),
    ("parity.json", ("bundle", "RUN"), 1),
    ("calibration.json", ("report", "RUN"), 1),
)
"""A file of a run, a command that needs it, and its exit code."""


def huge_files(workspace: Workspace) -> Observation:
    """Make a file of a run, of a bundle or of photos 5 GiB long, behind what it held."""
    run = workspace.own_run("huge")
    packed = next(run.glob("*.zip"))
    results, shortfalls = [], list[str]()
    for name, template, code in HUGE[: workspace.count(len(HUGE), 4)]:
        path = packed if name == "ZIP" else run / name
        before = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(SIZE)
        command = [part.replace("RUN", str(run)).replace("ZIP", str(packed)) for part in template]
        results.append(workspace.tledge(*command, cwd=run.parent, timeout=60))
        path.write_bytes(before)
        result, subject = results[-1], f"{Path(name).name} of 5 GiB, {command[0]}"
        shortfalls += [f"{subject}: {result.tail}"] * (result.code != code)
        shortfalls += [f"{subject}: took {result.peak:.0f} MiB"] * (result.peak > MOST_MEMORY)
    return observe(results, f"{len(results)} commands refused 5 GiB in words", shortfalls)
