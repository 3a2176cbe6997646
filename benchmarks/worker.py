"""Run one task of a benchmark in a process of its own, and print one JSON object.

    python -m benchmarks.worker TASK ARGUMENT...

Every measurement has a process of its own, so that no row finds warm what another left.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from benchmarks import augmentation_copies, export_rows, prediction_rows, preprocessing_rows, training_rows

FULL = {"train": 2520, "test": 372}
SMALL = {"train": 108, "test": 60}
DRAWN = 240
"""Side in pixels of drawn photos; the real ones have 300, but drawing takes its time."""


def write_photos(source: str, out: str, small: str) -> None:
    """Write photos as `split/label/*.jpg`; every tenth train photo of a label is for validation."""
    from tledge.data.sources.registry import SOURCES

    wanted = SMALL if small == "True" else FULL
    options = {"name": "rock_paper_scissors"} if source == "tfds" else {**wanted, "size": DRAWN}
    module = SOURCES[source].module
    counts: Counter[tuple[str, str]] = Counter()
    for record in module.scan({**module.OPTIONS, **options}).records():
        split_and_label = (record.split, record.label)
        if counts[split_and_label] == wanted[record.split] // 3:
            continue
        number = counts[split_and_label]
        counts[split_and_label] += 1
        split = "validation" if record.split == "train" and number % 10 == 9 else record.split
        folder = Path(out) / split / record.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04d}.jpg").write_bytes(record.read())


TASKS = {
    "photos": write_photos,
    "train": training_rows.time_training,
    "views": augmentation_copies.compare_copies,
    "prepare": preprocessing_rows.time_preprocessing,
    "epochs": preprocessing_rows.time_epoch_batches,
    "export": export_rows.time_export,
    "verify": export_rows.time_verification,
    "predict": prediction_rows.time_prediction,
}

if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
