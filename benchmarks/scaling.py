"""Measure how time and memory of preprocessing, training and verifying grow with the number of photos.

    python -m benchmarks.scaling [--quick] [--searches] [--base N] [--side PIXELS] [--out FILE]

Every stage runs at 1, 4 and 16 times N photos, each time in a process of its own. Photos are made from a few
hundred drawn scenes; each file carries a JPEG comment of its own, so that no two are equal, while scenes
repeat. `train, 10 photos of a class` has a tenth as many classes as photos: 2,000 with `--base 1250`. The
searches for near-duplicates and duplicates run on drawn images of 32 pixels: 100,000 of them with
`--base 6250`, a fifth of them for duplicates, a sixteenth for duplicates of a fixed camera; `--searches`
measures these alone.

`seconds` and `cpu s` are of the whole process, starting included; `ms/image` is the time of the photos added
to the size before, which leaves starting out; an epoch is the second one, which leaves compiling out. `own
MB` is the peak of what a process holds itself, `peak MB` counts the pages of memory-mapped files too, which
the system takes back when it wants them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import drawn_images, machine

STEPS = (1, 4, 16)
SCENES = 300

RECIPE = """
[recipe]
name = "scaling"
[data]
source = "folder:{photos}"
cache = {cache}
[data.splits]
validation = {{ from = "train", fraction = 0.1 }}
test = {{ from = "train", fraction = 0.1 }}
[model]
backbone = "tiny"
weights = "none"
image_size = {side}
[[stage]]
name = "head"
epochs = 2
reuse_frozen = false
[export]
variants = ["tflite-fp32"]
"""


@dataclass(frozen=True)
class StageMeasurement:
    """One stage at one size; `epoch` is in seconds, 0 where there is none."""

    stage: str
    images: int
    seconds: float
    cpu: float
    peak_mb: float
    own_mb: float
    epoch: float = 0.0


# The stages, each in a process of its own: arguments are the working folder, photos and side.


def prepare(folder: Path, photos: Path, side: int, cache: bool = True) -> None:
    from tledge.config import Data
    from tledge.data.prepare import prepare_dataset

    prepare_dataset(Data(source=f"folder:{photos}", cache=cache), side)


def train(folder: Path, photos: Path, side: int, cache: bool = True) -> None:
    from tledge.recipe import loader
    from tledge.training.pipeline import train as train_run

    text = RECIPE.format(photos=photos, side=side, cache=str(cache).lower())
    folder.mkdir(parents=True)
    (folder / "r.toml").write_text(text)
    train_run(loader.load(folder / "r.toml"), text, folder / "run")


def verify(folder: Path, photos: Path, side: int) -> None:
    from tledge.config import Parity
    from tledge.run import folder as run_folder
    from tledge.verification.verify import verify_run

    verify_run(run_folder.RunFolder(folder), Parity())


def index(folder: Path, photos: Path, side: int) -> None:
    prepare(folder, photos, side, cache=False)


def stream(folder: Path, photos: Path, side: int) -> None:
    train(folder, photos, side, cache=False)


def groups(folder: Path, photos: Path, side: int) -> None:
    from tledge._io import array_file
    from tledge.data.near_duplicates import near_duplicate_groups

    near_duplicate_groups(array_file.open_array(photos), scratch=photos.parent)


def duplicates(folder: Path, photos: Path, side: int) -> None:
    from tledge._io import array_file
    from tledge.data.duplicates import find_duplicates

    images = array_file.open_array(photos)
    find_duplicates(images, [str(number) for number in range(len(images))])


STAGES: dict[str, Callable[[Path, Path, int], None]] = {
    "prepare": prepare,
    "prepare, cache = false": index,
    "train": train,
    "train, cache = false": stream,
    "verify": verify,
    "train, 10 photos of a class": train,
    "near-duplicates": groups,
    "near-duplicates, fixed camera": groups,
    "duplicates": duplicates,
    "duplicates, fixed camera": duplicates,
}

SEARCHES = {
    "near-duplicates": 1,
    "near-duplicates, fixed camera": 1,
    "duplicates": 5,
    "duplicates, fixed camera": 16,
}
"""Stages that search drawn images, and by what their number is divided."""


def measure_stage(stage: str, count: int, folder: Path, photos: Path, side: int) -> StageMeasurement:
    """Run a stage in a process of its own and progress its memory."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scaling",
        "--stage",
        stage,
        str(folder),
        str(photos),
        str(side),
    ]
    started, own = time.monotonic(), 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while True:
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        own = max(own, _own_kb(child.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - started
    if status:
        raise SystemExit(f"{stage} failed:\n{child.stderr.read().decode()[-2000:] if child.stderr else ''}")
    child.returncode = 0
    cpu = used.ru_utime + used.ru_stime
    epoch = _epoch(folder / "run" / "history.csv")
    return StageMeasurement(stage, count, seconds, cpu, used.ru_maxrss / 1024, own / 1024, epoch)


def _own_kb(pid: int) -> int:
    """Read the memory that belongs to the process alone; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def _epoch(history: Path) -> float:
    if not history.is_file():
        return 0.0
    with history.open() as lines:
        return float(list(csv.DictReader(lines))[-1]["seconds"])


def make_photos(folder: Path, scenes: list[tuple[str, bytes]], count: int) -> Path:
    """Write `count` JPEG files by label; a comment segment (ITU-T T.81, B.2.4.5) makes each one different."""
    for number in range(count):
        label, data = scenes[number % len(scenes)]
        note = f"{number:010d}".encode()
        segment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
        path = folder / label / f"{number:08d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[:2] + segment + data[2:])
    return folder


def export_run(folder: Path) -> Path:
    """Export a run's artifacts, for `verify`."""
    from tledge.conversion import export
    from tledge.recipe import loader
    from tledge.run import folder as run_folder

    loaded = loader.load(folder / "r.toml")
    export.export(run_folder.RunFolder(folder / "run"), loaded, loaded.export.variants)
    return folder / "run"


def run_with_golden_set(run: Path, target: Path, count: int) -> Path:
    """Copy a run, and repeat its golden set to `count` images."""
    import numpy as np

    from tledge.run import golden_set

    shutil.copytree(run, target)
    reference = golden_set.load(run / "golden.npz")
    rows = np.arange(count) % len(reference.labels)
    ids = tuple(f"{reference.ids[row]}-{number}" for number, row in enumerate(rows.tolist()))
    parts = (
        reference.images[rows],
        reference.labels[rows],
        reference.probabilities[rows],
        ids,
        reference.faults,
    )
    golden_set.save(target / "golden.npz", golden_set.Golden(*parts))
    return target


def measure_all_stages(base: int, steps: tuple[int, ...], side: int, scratch: Path) -> list[StageMeasurement]:
    """Measure all stages at all sizes."""
    from tledge.data.sources import synthetic

    scenes = [(synthetic.LABELS[n % 3], synthetic.draw("train", n, max(160, side), 0)) for n in range(SCENES)]
    rows = []
    for step in steps:
        count = base * step
        os.environ["TLEDGE_CACHE"] = str(scratch / f"cache-{step}")  # children inherit it
        photos = make_photos(scratch / f"photos-{step}", scenes, count)
        for number, stage in enumerate(list(STAGES)[:4]):
            rows.append(measure_stage(stage, count, scratch / f"{step}-{number}", photos, side))
            print_progress(rows[-1:])
    ready = export_run(scratch / f"{steps[0]}-2")
    for step in steps:
        folder = run_with_golden_set(ready, scratch / f"verify-{step}", base * step)
        rows.append(measure_stage("verify", base * step, folder, folder, side))
        print_progress(rows[-1:])
    return rows


def measure_classes(base: int, steps: tuple[int, ...], side: int, scratch: Path) -> list[StageMeasurement]:
    """Measure training with ten photos of each class."""
    from tledge.data.sources import synthetic

    stage, rows = "train, 10 photos of a class", []
    drawn = [synthetic.draw("train", number, max(160, side), 0) for number in range(SCENES)]
    for step in steps:
        classes = base * step // 10
        scenes = [(f"class {number:05d}", drawn[number % SCENES]) for number in range(classes)]
        photos = make_photos(scratch / f"classes-{step}", scenes, classes * 10)
        os.environ["TLEDGE_CACHE"] = str(scratch / f"cache-classes-{step}")
        rows.append(measure_stage(stage, classes * 10, scratch / f"{step}-classes", photos, side))
        print_progress(rows[-1:])
    return rows


def measure_searches(base: int, steps: tuple[int, ...], scratch: Path) -> list[StageMeasurement]:
    """Measure the search for near-duplicates and duplicates, among scenes and frames of a fixed camera."""
    rows = []
    for stage, divisor in SEARCHES.items():
        for step in steps:
            count = max(2, base * step // divisor)
            images = drawn_images.write(
                scratch / "images.npy", count, fixed_camera=stage.endswith("fixed camera")
            )
            rows.append(measure_stage(stage, count, scratch, images, drawn_images.SIDE))
            print_progress(rows[-1:])
    return rows


def marginal_cost(rows: list[StageMeasurement], row: StageMeasurement) -> tuple[float, float]:
    """Compute the milliseconds and CPU milliseconds for each image more than at the size before."""
    before = [earlier for earlier in rows if earlier.stage == row.stage and earlier.images < row.images]
    if not before:
        return 0.0, 0.0
    added = row.images - before[-1].images
    return 1000 * (row.seconds - before[-1].seconds) / added, 1000 * (row.cpu - before[-1].cpu) / added


def table(rows: list[StageMeasurement]) -> list[dict[str, object]]:
    """Add to each row its ratios to the smallest size of the same stage."""
    lines: list[dict[str, object]] = []
    for row in rows:
        first = next(candidate for candidate in rows if candidate.stage == row.stage)
        wall, cpu = marginal_cost(rows, row)
        epoch_ms, each_first = (measurement.epoch / measurement.images * 1000 for measurement in (row, first))
        lines.append(
            {
                **asdict(row),
                "ms_image": wall,
                "cpu_ms_image": cpu,
                "epoch_ms_image": epoch_ms,
                "epoch_ratio": epoch_ms / each_first if each_first else 0.0,
                "peak_ratio": row.peak_mb / first.peak_mb,
                "own_ratio": row.own_mb / first.own_mb if first.own_mb else 0.0,
            }
        )
    return lines


COLUMNS = {
    "stage": "stage", "images": "images", "seconds": "seconds", "cpu": "cpu s", "ms_image": "ms/image",
    "cpu_ms_image": "cpu ms/image", "epoch_ms_image": "epoch ms/image", "epoch_ratio": "to 1x",
    "peak_mb": "peak MB", "peak_ratio": "to 1x", "own_mb": "own MB", "own_ratio": "to 1x",
}  # fmt: skip


def print_progress(rows: list[StageMeasurement]) -> None:
    """Print a line for each row while it is measured."""
    for row in rows:
        print(f"  {row.stage} {row.images}: {row.seconds:.1f} s, {row.own_mb:.0f} MB", file=sys.stderr)


def markdown_table(rows: list[dict[str, object]]) -> str:
    """Write the table as Markdown."""
    lines = [" | ".join(COLUMNS.values()), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        cells = [row[name] for name in COLUMNS]
        lines.append(" | ".join(_cell(cell) for cell in cells))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if 0 < abs(value) < 20 else f"{value:.0f}" if value else ""
    return str(value)


def million_photos(rows: list[dict[str, object]], side: int) -> list[str]:
    """Extrapolate to a million photos like these, from the photos added last."""
    last = {str(row["stage"]): row for row in rows}
    lines = [f"disk of a cache at {side} px: {1e6 * side * side * 3 / 1e9:.0f} GB; at 224 px: 151 GB"]
    for stage in ("prepare", "prepare, cache = false"):
        if stage not in last:
            return lines
        lines.append(f"{stage}: {float(str(last[stage]['ms_image'])) / 3.6:.1f} hours")
    for stage in ("train", "train, cache = false"):
        lines.append(f"{stage}, an epoch: {float(str(last[stage]['epoch_ms_image'])) / 3.6:.1f} hours")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", type=int, default=500)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--searches", action="store_true", help="only the search for near-duplicates")
    parser.add_argument("--quick", action="store_true", help="60 and 960 photos of 32 pixels")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "scaling.json")
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        stage, folder, photos, side = chosen.stage
        STAGES[stage](Path(folder), Path(photos), int(side))
        return
    base, side, steps = (60, 32, (1, 16)) if chosen.quick else (chosen.base, chosen.side, STEPS)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        measured = [] if chosen.searches else measure_all_stages(base, steps, side, scratch)
        measured += [] if chosen.searches else measure_classes(base, steps, side, scratch)
        rows = table(measured + measure_searches(base, steps, scratch))
    print(markdown_table(rows))
    print("\nA million photos like these, on this machine:", *million_photos(rows, side), sep="\n- ")
    facts = {"base": base, "side": side, "steps": steps, "machine": machine.describe(), "rows": rows}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
