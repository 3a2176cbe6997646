"""A run of a network that names the strongest colour: two artifacts and a golden set, without training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers.fake_device_bundle import HEIGHT, LABELS, WIDTH, keras, tflite, weights
from tests.helpers.run_records import RUN
from tledge._io import files
from tledge.config import Parity
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.formats import tflite_metadata_writer
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.golden_set import Golden
from tledge.run.records import Artifact, ParityRow
from tledge.verification import parity
from tledge.verification.parity import Standard

IMAGES = 120
POLICY = AbstentionPolicy(1.0, 0.9)
STANDARD = Standard(LABELS, InputSpec(HEIGHT, WIDTH), weights().size, Parity(), POLICY)


def pixels(count: int = IMAGES) -> NDArray[np.uint8]:
    """Noise that is stronger in one colour: uint8[count, HEIGHT, WIDTH, 3]."""
    rng = np.random.default_rng(5)
    tint = 60 * np.eye(3)[np.arange(count) % 3][:, None, None]
    return (rng.integers(0, 190, (count, HEIGHT, WIDTH, 3)) + tint).astype(np.uint8)


@dataclass(frozen=True)
class ColourRun:
    """The run's folder, its artifacts by variant, and the golden set that they are held to."""

    folder: RunFolder
    artifacts: dict[str, Artifact]
    golden: Golden

    def path(self, variant: str) -> Path:
        return self.folder.path / self.artifacts[variant].path

    def check(self, variant: str, golden: Golden | None = None, **changes: Any) -> ParityRow:
        """Verify an artifact; `changes` are those of the standard."""
        standard = replace(STANDARD, **changes)
        return parity.check(self.folder, self.artifacts[variant], golden or self.golden, standard)


def make(path: Path) -> ColourRun:
    """Write the artifacts of a run, and return it with a golden set whose labels are Keras' predictions."""
    folder = RunFolder(path)
    folder.artifacts.mkdir(parents=True)
    artifacts = {}
    for variant in ("tflite-fp32", "tflite-int8"):
        file = folder.artifacts / f"{variant}.tflite"
        content = tflite(variant == "tflite-int8")
        file.write_bytes(
            tflite_metadata_writer.write_metadata(
                content, name="colours", description="", version="1", labels=LABELS
            )
        )
        artifacts[variant] = Artifact(
            variant, f"artifacts/{file.name}", files.sha256(file), file.stat().st_size, 1.0
        )
        files.write_json(folder.artifacts / f"{variant}.json", artifacts[variant])
    images = pixels()
    probabilities = keras(images)
    ids = tuple(f"{number}.png" for number in range(IMAGES))
    golden = Golden(images, probabilities.argmax(1).astype(np.int64), probabilities, ids, {})
    golden_set.save(folder.golden, golden)
    record = replace(RUN, labels=LABELS, input=STANDARD.input, parameters=STANDARD.parameters)
    files.write_json(folder.run, replace(record, confidence=POLICY))
    return ColourRun(folder, artifacts, golden)
