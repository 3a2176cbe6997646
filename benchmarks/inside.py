"""What runs in a child process: python inside.py WHAT ARGUMENT... prints one JSON object.

Every measurement has a process of its own, so that no row finds warm what another left.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import preparing
import shipping
import starting
import training
import views

FULL = {"train": 2520, "test": 372}
SMALL = {"train": 108, "test": 60}
DRAWN = 240
"""Side in pixels of drawn photos; the real ones have 300, but drawing takes its time."""


def photos(source: str, out: str, small: str) -> None:
    """Write photos as `split/label/*.jpg`; every tenth train photo of a label is for validation."""
    from tledge.data.sources.registry import SOURCES

    wanted = SMALL if small == "True" else FULL
    own = {"name": "rock_paper_scissors"} if source == "tfds" else {**wanted, "size": DRAWN}
    module = SOURCES[source].module
    seen: Counter[tuple[str, str]] = Counter()
    for record in module.records({**module.OPTIONS, **own}):
        place = (record.split, record.label)
        if seen[place] == wanted[record.split] // 3:
            continue
        number = seen[place]
        seen[place] += 1
        split = "validation" if record.split == "train" and number % 10 == 9 else record.split
        folder = Path(out) / split / record.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04d}.jpg").write_bytes(record.read())


WHAT = {
    "photos": photos,
    "train": training.inside_train,
    "views": views.inside_views,
    "prepare": preparing.inside_prepare,
    "epochs": preparing.inside_epochs,
    "export": shipping.inside_export,
    "verify": shipping.inside_verify,
    "predict": starting.inside_predict,
}

if __name__ == "__main__":
    WHAT[sys.argv[1]](*sys.argv[2:])
