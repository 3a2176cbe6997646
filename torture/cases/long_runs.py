"""Long runs: hundreds of exports in one process, hundreds of thousands of images."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

ROUNDS = 500
MEMORY_ALLOWANCE = 48.0
"""MiB by which memory may differ between the first and the last rounds: allocators breathe."""

IMAGES = 200_000
TEST_FRACTION = 0.25
"""Share of them that is verified: 50,000."""

BYTES_PER_IMAGE = 2048
"""Memory that one image more may cost: its row of the index, its label, its place in the order."""

RECIPE = """
[recipe]
name = "heavy"
[data]
source = "folder:{photos}"
[data.splits]
validation = {{ from = "train", fraction = 0.05 }}
test = {{ from = "train", fraction = {test} }}
[model]
backbone = "tiny"
weights = "none"
image_size = 32
[[stage]]
name = "all"
epochs = 1
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.9
learning_rate = 4e-3
batch_size = 128
[export]
variants = ["tflite-fp32", "tflite-int8"]
"""


def repeated_exports(workspace: Workspace) -> Observation:
    """Export and verify again and again in one process; see `torture.workers.export_loop`."""
    rounds = workspace.count(ROUNDS, 3)
    command = processes.python_module("torture.workers.export_loop", workspace.own_run("soak"), rounds)
    result = processes.run(command, workspace.env, timeout=7200)
    if result.code:
        return Observation(
            "", (result.tail,), crashes=int(result.crashed), hangs=int(result.hung), peak=result.peak
        )
    rounds_done = [json.loads(line) for line in result.out.splitlines()]
    first, last = _first_and_last(rounds_done)
    held = f"own memory {first['own']:.0f} -> {last['own']:.0f} MiB"
    summary = f"{len(rounds_done)} rounds in {rounds_done[-1]['seconds']:.0f} s, {held}"
    return Observation(summary, tuple(growth(rounds_done)), peak=result.peak)


def _first_and_last(rounds_done: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find the maximum of the first tenth after the first round, and of the last tenth."""
    tenth = max(1, len(rounds_done) // 10)
    parts = rounds_done[1 : 1 + tenth], rounds_done[-tenth:]
    first, last = ({name: max(row[name] for row in part) for name in rounds_done[0]} for part in parts)
    return first, last


def growth(rounds_done: Sequence[dict[str, Any]]) -> list[str]:
    """List what grew from the first rounds to the last ones, without the very first: it loads libraries."""
    first, last = _first_and_last(rounds_done)
    allowed = {
        "own": MEMORY_ALLOWANCE,
        "children": MEMORY_ALLOWANCE,
        "files": 2,
        "threads": 0,
        "bytes": 4096,
        "temporary": 0,
    }
    return [
        f"{name} grew from {first[name]:.0f} to {last[name]:.0f}, allowed is {allowance:.0f} more"
        for name, allowance in allowed.items()
        if last[name] > first[name] + allowance
    ]


def many_images(workspace: Workspace) -> Observation:
    """Preprocess, train for an epoch, export and verify; a sixteenth of the images shows the cost of each."""
    count = workspace.count(IMAGES, 800)
    results = _run_commands(workspace, count)
    fewer_results = (
        results if workspace.reduced else _run_commands(workspace, count // 16)
    )  # below that, starting costs more
    bytes_per_image = {
        name: (results[name].own - fewer_results[name].own) * 2**20 / (count - count // 16)
        for name in results
    }
    summary = ", ".join(
        f"{name} {results[name].seconds:.0f} s {results[name].own:.0f} MiB" for name in results
    )
    dear = [
        f"{name}: {cost:.0f} bytes an image, allowed are {BYTES_PER_IMAGE}"
        for name, cost in bytes_per_image.items()
        if cost > BYTES_PER_IMAGE
    ]
    peak = max(result.peak for result in results.values())
    return Observation(
        f"{count} images, {count * TEST_FRACTION:.0f} verified: {summary}",
        tuple(dear),
        files=count,
        peak=peak,
    )


def _run_commands(workspace: Workspace, count: int) -> dict[str, processes.ProcessResult]:
    """Run every command on so many images; return the results by name."""
    folder = workspace.folder(f"heavy-{count}")
    photos = make_photos(folder / "photos", count)
    recipe, run = folder / "heavy.toml", folder / "run"
    recipe.write_text(RECIPE.format(photos=photos, test=TEST_FRACTION), encoding="utf-8")
    commands: dict[str, tuple[object, ...]] = {
        "data": ("data", recipe),
        "train": ("train", recipe, "--out", run),
        "export": ("export", run, "--unverified"),
        "verify": ("verify", run),  # 3 or 6: one epoch makes no network that int8 must keep
    }
    results = {
        name: workspace.tledge(*arguments, "--quiet", timeout=3600) for name, arguments in commands.items()
    }
    if bad := [f"{name}: {result.tail}" for name, result in results.items() if result.code not in (0, 3, 6)]:
        raise RuntimeError("; ".join(bad))
    verified = json.loads((run / "parity.json").read_text())["reference"]["images"]
    if abs(verified - count * TEST_FRACTION) > 3:
        raise RuntimeError(
            f"{verified} images were verified, {count * TEST_FRACTION:.0f} are in the test split"
        )
    return results


def make_photos(folder: Path, count: int) -> Path:
    """Write `count` small JPEG files that all differ, in three classes of different colours."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(3):
        (folder / "rgb"[label]).mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 200, (6, 6, 3), np.uint8)
        coarse[..., number % 3] += 55
        out = io.BytesIO()
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BILINEAR).save(out, "JPEG", quality=85)
        (folder / "rgb"[number % 3] / f"{number:06d}.jpg").write_bytes(out.getvalue())
    return folder


CASES = (
    Case(
        "500 exports and verifications in one process",
        "memory, files, threads and disk stay flat",
        repeated_exports,
    ),
    Case("200,000 images", "memory is bounded in data, train, export and verify", many_images),
)
