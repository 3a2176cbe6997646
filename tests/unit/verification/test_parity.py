"""One artifact is compared with Keras: its file, its predictions, its coverage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import fake_artifacts
from tests.helpers.doubt import row
from tledge.config import Parity
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact
from tledge.runtime.model_file import ModelFile, read_model
from tledge.verification import parity


def reference(count: int = 100) -> golden_set.Golden:
    """Half of the answers .95 sure, half .7, all right."""
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3]] * (count // 2), np.float32)
    labels = np.zeros(count, np.int64)
    return golden_set.Golden(np.zeros((count, 8, 8, 3), np.uint8), labels, probabilities, ("",) * count, {})


def test_artifact_is_held_to_keras_doubt() -> None:
    known = reference()
    same = parity._with_coverage(
        row("a", None), known.probabilities + 1e-6, known, AbstentionPolicy(1.0, 0.8)
    )
    assert (same.coverage, same.answered_error, same.remarks) == (0.5, 0.0, ())
    earlier = parity._with_coverage(row("a", None), known.probabilities, known, None)
    assert earlier.coverage is None


def test_artifact_that_is_surer_is_remarked() -> None:
    """Planted: agreement is whole, and what Keras is unsure of is now answered."""
    known = reference()
    surer = np.array([[0.96, 0.04], [0.9, 0.1]] * 50, np.float32)
    found = parity._with_coverage(row("a", None), surer, known, AbstentionPolicy(1.0, 0.8))
    assert found.coverage == 1.0 and found.verdict == "passed"
    assert found.remarks == ("coverage at the confidence threshold 100.0%; Keras 50.0%",)


def test_errors_of_keras_are_no_remark() -> None:
    """Half of what both accept is wrong, to both alike."""
    known = replace(reference(), labels=np.repeat([0, 1], 50))
    same = parity._with_coverage(row("a", None), known.probabilities, known, AbstentionPolicy(1.0, 0.8))
    assert (same.coverage, same.answered_error, same.remarks) == (0.5, 0.5, ())


@pytest.fixture
def run_with_changed_artifact(tmp_path: Path) -> tuple[RunFolder, Artifact, Path]:
    """A run whose `.tflite` file is not the one that its record describes, as after an exchange."""
    folder = RunFolder(fake_artifacts.run(tmp_path / "run"))
    artifact = next(one for one in folder.read_artifacts() if one.variant == "tflite-fp32")
    return folder, replace(artifact, sha256="ab" * 32), folder.path / artifact.path


def standard() -> parity.Standard:
    return parity.Standard(fake_artifacts.LABELS, InputSpec(8, 8), 576, Parity())


def test_artifact_that_was_inspected_is_the_one_that_is_opened(
    run_with_changed_artifact: tuple[RunFolder, Artifact, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, artifact, path = run_with_changed_artifact

    def read(source: Path) -> ModelFile:
        model = read_model(source)
        source.write_bytes(b"exchanged")
        return model

    monkeypatch.setattr(parity, "read_model", read)
    row = parity.check(folder, artifact, folder.read_golden(), standard())
    assert path.read_bytes() == b"exchanged"
    assert row.images > 0 and not any("not a TFLite file" in reason for reason in row.reasons)


def test_changed_artifact_is_a_structural_reason(
    run_with_changed_artifact: tuple[RunFolder, Artifact, Path],
) -> None:
    folder, artifact, _path = run_with_changed_artifact
    row = parity.check(folder, artifact, folder.read_golden(), standard())
    assert row.structural and row.reasons[0].startswith("the file changed after it was exported")


def test_same_image_must_give_the_same_prediction() -> None:
    class Random:
        kernels = "none"

        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.random.default_rng().random((len(images), 3)).astype(np.float32)

    images = fake_artifacts.pixels()
    (reason,) = parity._repeat_reasons(Random(), images).structural_reasons
    assert "a random operator is in the graph" in reason
