"""Records of a run as a training and an export would write them."""

from __future__ import annotations

from pathlib import Path

from tledge.contract import AbstentionPolicy, InputSpec
from tledge.run.records import Score, TrainedRun

SCORE = Score(images=120, accuracy=0.95, low=0.9, high=0.975)

RUN = TrainedRun(
    name="hands",
    version="1",
    seed=3,
    description="Hände, 手",
    synthetic=True,
    labels=("paper", "rock", "scissors"),
    input=InputSpec(96, 128),
    backbone="tiny",
    parameters=12_345,
    train_images=900,
    validation=SCORE,
    test=Score(300, 0.91, 0.87, 0.94, top5=0.99),
    first_stage_validation=SCORE,
    seconds=1.5,
    cache="/somewhere",
    skipped=("a.jpg: empty",),
    confidence=AbstentionPolicy(1.87, 0.62, 120, 0.95, 0.01),
)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
