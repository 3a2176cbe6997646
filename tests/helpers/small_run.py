"""The small recipe, and the run that is trained from it once for all tests."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

SMALL = """
[recipe]
name = "small"
description = "tiny network on drawn hands, for tests"
[data]
source = "drawn"
train = 900
test = 300
size = 64
[data.splits]
validation = { from = "train", fraction = 0.15 }
[model]
backbone = "tiny"
weights = "none"
image_size = 48
[[stage]]
name = "all"
epochs = 14
unfreeze = "all"
batch_norm = "train"
batch_norm_momentum = 0.9
learning_rate = 4e-3
schedule = "cosine"
[parity]
int8_agreement = 0.9
int8_accuracy = 0.9
max_drop = 0.05
max_class_drop = 0.2
"""


def train_once(folder: Path) -> Path:
    """Train and export the small recipe in `folder`, unless a test process has done so; gives the run."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            _train_and_export(folder)
            (folder / "made").touch()
    return folder / "runs" / "small"


def _train_and_export(folder: Path) -> None:
    (folder / "small.toml").write_text(SMALL)
    command = [sys.executable, "-m", "tledge"]
    for arguments in (["train", "small.toml", "--quiet", "--force"], ["export", "--int8", "--quiet"]):
        done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def zip_of(run: Path) -> Path:
    """The zip of a run's bundle; a hash of the model is part of its name."""
    (path,) = run.glob("small-1+????????.zip")
    return path


def record(run: Path, variant: str) -> None:
    """Write an artifact's new hash into its record, as an export that made it so would have."""
    from tledge._io import files

    path = run / "artifacts" / f"{variant}.json"
    facts = json.loads(path.read_text())
    facts["sha256"] = files.sha256(run / facts["path"])
    facts["bytes"] = files.size_of(run / facts["path"])
    path.write_text(json.dumps(facts))
