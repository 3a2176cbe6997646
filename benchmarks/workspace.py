"""What the rows work on: photos in folders, recipes on them, one trained and exported run."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.processes import FOLDER, run_process, worker_command

ROOT = FOLDER.parent
DATA_SET = "tfds/rock_paper_scissors"
SIZE = 160
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{}_no_top.h5"
VARIANTS_WITHOUT_TENSORFLOW = ("tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-int8", "onnx-fp32")
"""The variants that run without TensorFlow."""

RECIPE = """
[recipe]
name = "bench"
[data]
source = "folder:{photos}"
[data.splits]
validation = "validation"
[model]
backbone = "mobilenetv2"
alpha = 0.35
weights = "{weights}"
image_size = {size}
dropout = 0.2
[augment]
{augment}
[[stage]]
name = "stage"
epochs = {epochs}
restore_best = false
{stage}
[export]
variants = ["tflite-fp32"]
"""


@dataclass(frozen=True)
class Workspace:
    """A folder to work in, and how much work to do.

    `data` holds real photos and weights (see CONTRIBUTING.md); where it is None, photos are drawn
    and weights are random, which costs the same time and says nothing of accuracy.
    """

    work: Path
    data: Path | None
    small: bool = False

    @property
    def epochs(self) -> int:
        return 2 if self.small else 10

    @property
    def weights(self) -> str:
        return "imagenet" if self.data else "none"

    def repeats(self, full: int) -> int:
        """Count how often a row is repeated that a full run repeats `full` times."""
        return 1 if self.small else full

    @cached_property
    def env(self) -> dict[str, str]:
        """Build the children's environment: data and weights from local copies, caches in `work`."""
        variables = {
            "KERAS_HOME": str(self.work / "keras"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TLEDGE_CACHE": str(self.work / "cache"),
        }
        if self.data:
            variables["TFDS_DATA_DIR"] = str(self.data / "tfds")
            _link_weights(self.data / "keras" / "models", self.work / "keras" / "models")
        return {**os.environ, **variables}

    @cached_property
    def photos(self) -> Path:
        """Write photos as `split/label/*.jpg`, of the splits train, validation and test."""
        out = self.work / "photos"
        run_process(worker_command("photos", "tfds" if self.data else "drawn", out, self.small), self.env)
        return out

    def one_photo(self) -> Path:
        """Choose one photo of the test split."""
        return min((self.photos / "test").rglob("*.jpg"))

    def recipe(self, name: str, *, augment: str = "", stage: str = "", epochs: int | None = None) -> Path:
        """Write a recipe with these lines in its `[augment]` and its one `[[stage]]`."""
        path = self.work / f"{name}.toml"
        text = RECIPE.format(
            photos=self.photos, weights=self.weights, size=SIZE, augment=augment, stage=stage,
            epochs=self.epochs if epochs is None else epochs,
        )  # fmt: skip
        path.write_text(text, encoding="utf-8")
        return path

    @cached_property
    def run(self) -> Path:
        """Train the head of a run, and bundle its float artifact."""
        folder = self.work / "runs" / "bench"
        self.tledge("train", self.recipe("bench"), "--out", folder, "--quiet")
        self.tledge("export", folder, "--unverified", "--quiet")
        return folder

    @cached_property
    def exported(self) -> Path:
        """Export all five artifacts of the run that need no TensorFlow."""
        named = [part for name in VARIANTS_WITHOUT_TENSORFLOW for part in ("--variant", name)]
        self.tledge("export", self.run, *named, "--unverified", "--quiet")
        return self.run

    def tledge(self, *arguments: object) -> None:
        """Run a tledge command that is not measured."""
        run_process([sys.executable, "-m", "tledge", *map(str, arguments)], self.env)


def _link_weights(source: Path, target: Path) -> None:
    """Link Keras' weight files by their names; those for 224 pixels serve 160 where there are no others."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (target / path.name).symlink_to(path.resolve())
    for_160_pixels, there = target / WEIGHTS.format(SIZE), target / WEIGHTS.format(224)
    if not for_160_pixels.exists():
        for_160_pixels.symlink_to(there.resolve())


def real_data() -> Path | None:
    """Find the folder of real photos and weights; None where it is absent."""
    named = Path(os.environ.get("TLEDGE_TEST_DATA", ROOT.parent / "shared" / "data")).absolute()
    is_complete = (named / DATA_SET).is_dir() and (named / "keras/models" / WEIGHTS.format(224)).is_file()
    return named if is_complete else None


def without_artifacts(run: Path, copy: Path) -> Path:
    """Copy a run without everything that was exported from it."""
    shutil.rmtree(copy, ignore_errors=True)
    exported_names = ("artifacts", "bundle", "evidence", "logs", "parity.json", "*.zip")
    return Path(shutil.copytree(run, copy, ignore=shutil.ignore_patterns(*exported_names)))
