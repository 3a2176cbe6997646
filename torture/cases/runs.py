"""Run folders that are damaged or malicious."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from torture.cases import huge_files, links_and_pipes
from torture.inputs import arrays
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.refusals import refusal_fault
from torture.support.workspace import Workspace


def damaged_run_folders(workspace: Workspace) -> Observation:
    """Damage a run's own JSON by chance: its commands may fail, in words."""
    rng = workspace.rng("run folders")
    run = workspace.own_run("damaged")
    shutil.rmtree(run / "bundle")
    shortfalls: list[str] = []
    count = workspace.count(60, 5)
    crashes, peak = 0, 0.0
    for number in range(count):
        path = run / rng.choice(
            (
                "run.json",
                "parity.json",
                "artifacts/tflite-int8.json",
                "golden/photos.json",
                "calibration.json",
                "evidence/risk_coverage.json",
            )
        )
        original = path.read_bytes()
        name, damaged = damaged_json(original, rng)
        path.write_bytes(damaged)
        command = rng.choice((["inspect", run], ["report", run], ["verify", run], ["bundle", run]))
        result = workspace.tledge(*command, timeout=120)
        crashes, peak = crashes + result.crashed, max(peak, result.peak)
        if fault := refusal_fault(
            f"{path.name} {name} ({number})", str(command[0]), result, {0, 1, 2, 3, 4, 5}
        ):
            shortfalls.append(fault)
        path.write_bytes(original)
    return Observation(
        f"{count} damaged files, {crashes} crashes",
        tuple(shortfalls),
        files=count,
        crashes=crashes,
        peak=peak,
    )


def damaged_json(original: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Replace one value of some JSON, or change bytes of it."""
    kind = rng.choice(("value", "value", "value", "cut", "bytes", "deep"))
    if kind == "cut":
        return kind, original[: rng.randrange(len(original))]
    if kind == "deep":
        return kind, b"[" * 100_000
    if kind == "bytes":
        at = rng.randrange(len(original))
        return kind, original[:at] + rng.randbytes(3) + original[at + 3 :]
    raw = json.loads(original)
    container, key = rng.choice(list(_positions(raw)))
    value = rng.choice((None, -1, 10**30, 1.5, "text", "\x1b[2J", [], {}, [1], True, float("nan"), "../../x"))
    container[key] = value
    return f"{key} = {value!r}", json.dumps(raw).encode()


def _positions(raw: Any) -> Iterator[tuple[Any, Any]]:
    """Find every position in nested JSON that holds a value."""
    for key in raw if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else ():
        yield raw, key
        yield from _positions(raw[key])


GOLDEN_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("verify", "RUN"), ("report", "RUN"), ("compare", "RUN", "GOOD"), ("bundle", "RUN"),
    ("verify", "RUN", "--skew"), ("compare", "GOOD", "RUN"), ("bench", "RUN", "--threads", "1"),
)  # fmt: skip
"""Commands that read the golden set of a run."""


def damaged_arrays(workspace: Workspace) -> Observation:
    """Damage a run's golden set as arrays, and its other arrays: in words, and never in gigabytes."""
    run = workspace.own_run("arrays")
    original = (run / "golden.npz").read_bytes()
    with np.load(io.BytesIO(original)) as packed:
        golden = {name: packed[name] for name in packed.files}
    names = arrays.QUICK if workspace.reduced else arrays.DAMAGED
    changes = {name: arrays.DAMAGED[name] for name in names}
    results, shortfalls = [], list[str]()
    words = {"RUN": str(run), "GOOD": str(workspace.run)}
    for name, make in changes.items():
        make(run / "golden.npz", golden)
        for command in GOLDEN_COMMANDS[: workspace.count(len(GOLDEN_COMMANDS), 1)]:
            arguments = [words.get(part, part) for part in command]
            results.append(workspace.tledge(*arguments, timeout=120, memory=6 << 10))
            if fault := refusal_fault(name, " ".join(command), results[-1], {0, 1, 3, 4}):
                shortfalls.append(fault)
    (run / "golden.npz").write_bytes(original)
    for path in ("evidence/photos.npz", "evidence/calibration.npy")[: workspace.count(2, 1)]:
        (run / path).write_bytes(arrays.npy(np.array([None] * 4, dtype=object)))
        commands = (("report", run), ("export", run, "--int8"))
        results.append(workspace.tledge(*commands[path.endswith("npy")], timeout=120))
        if fault := refusal_fault(path, "objects", results[-1], {0, 1, 3, 4}):
            shortfalls.append(fault)
    return Observation(
        f"{len(changes)} files, {len(results)} commands",
        tuple(shortfalls),
        files=len(changes),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


CASES: tuple[Case, ...] = (
    Case("damaged run folders", "in words, no traceback", damaged_run_folders),
    Case(
        "links in a run",
        "refused by name; nothing behind them is moved, deleted, written or read",
        links_and_pipes.links_in_run,
    ),
    Case("pipes in a run", "refused by name within seconds, also for a zip", links_and_pipes.pipes_in_run),
    Case("damaged arrays", "in words, no traceback, no memory for what is not there", damaged_arrays),
    Case(
        "files of 5 GiB",
        "refused in words, without as much memory, in a run or a bundle",
        huge_files.huge_files,
    ),
)
