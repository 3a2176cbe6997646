"""Independent images decide where the test images are too few: which of them count, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import colour_run
from tests.helpers.colour_run import STANDARD, ColourRun
from tests.helpers.fake_device_bundle import keras
from tledge.config import Parity
from tledge.errors import RunError
from tledge.quantization import selection_images
from tledge.run import independent_images
from tledge.run.golden_set import Golden
from tledge.run.independent_images import EXTRA, VALIDATION, IndependentImages
from tledge.run.records import ParityRow
from tledge.verification import flips, independent, parity, verify

INT8 = "tflite-int8"
FEW = 30


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> ColourRun:
    monkeypatch.setattr(flips, "write", lambda *_: "")
    return colour_run.make(tmp_path_factory.mktemp("colours") / "run")


def few(golden: Golden) -> Golden:
    return replace(
        golden, images=golden.images[:FEW], labels=golden.labels[:FEW],
        probabilities=golden.probabilities[:FEW], ids=golden.ids[:FEW],
    )  # fmt: skip


def others(golden: Golden, validation: int, extra: int) -> IndependentImages:
    """Images of which Keras and the artifacts predict the same, and copies of the test images."""
    images = np.resize(golden.images, (validation + extra, *golden.images.shape[1:]))
    copies = selection_images.changed_copies(golden.images)
    return IndependentImages(
        images, (VALIDATION,) * validation + (EXTRA,) * extra, keras(images),
        keras(copies).reshape(len(selection_images.CHANGES), len(golden.images), -1),
        independent_images.sha256_of(copies), "golden",
    )  # fmt: skip


def check(run: ColourRun, found: IndependentImages | None, limits: Parity | None = None) -> ParityRow:
    artifact = run.artifacts[INT8]
    evidence = independent.evidence_for(artifact, found)
    standard = replace(STANDARD, limits=limits or Parity())
    return parity.check(run.folder, artifact, few(run.golden), standard, evidence=evidence)


def other_classes(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.roll(probabilities, 1, axis=-1)


def test_enough_images_let_it_pass_and_are_named(run: ColourRun) -> None:
    row = check(run, others(few(run.golden), 20, 99))
    assert (row.verdict, row.reasons, row.provisional, row.images_needed) == ("passed", (), False, None)
    assert row.images == FEW, "accuracy stays that on the test images"
    assert row.independent_sources == {"test": 30, "validation": 20, "extra": 99}
    assert (row.independent_images, row.independent_agreement) == (149, 1.0)
    assert row.remarks[-1].startswith("30 test images are too few; it passed on 149 independent images")


def test_fewer_leave_it_provisional(run: ColourRun) -> None:
    row = check(run, others(few(run.golden), 20, 98))
    assert (row.verdict, row.provisional) == ("undecided", True)
    assert (row.independent_images, row.independent_needed) == (148, 149)
    assert row.reasons and row.images_needed == 100
    assert not check(run, others(few(run.golden), 20, 98), Parity(strict=True)).provisional


def test_validation_images_that_chose_a_repair_do_not_count(run: ColourRun) -> None:
    found = others(few(run.golden), 120, 10)
    repaired = replace(run.artifacts[INT8], details={"rungs": [], "repair": "none"})
    evidence = independent.evidence_for(repaired, found)
    assert evidence is not None and evidence.sources == (EXTRA,) * 10 and len(evidence.images) == 10
    np.testing.assert_array_equal(evidence.probabilities, found.probabilities[120:])
    assert independent.evidence_for(repaired, None) is None


def test_images_on_which_it_differs_fail(run: ColourRun) -> None:
    found = others(few(run.golden), 0, 100)
    wrong = found.probabilities.copy()
    wrong[:20] = other_classes(wrong[:20])
    row = check(run, replace(found, probabilities=wrong))
    assert (row.verdict, row.provisional, row.structural) == ("failed", False, False)
    assert row.reasons[0].startswith("agrees with Keras on 84.6% of 130 independent images")


def test_a_copy_that_differs_weakens_and_never_counts_as_an_image(run: ColourRun) -> None:
    found = others(few(run.golden), 20, 99)
    copies = found.copies.copy()
    copies[:, 0] = other_classes(copies[:, 0])
    row = check(run, replace(found, copies=copies))
    assert (row.verdict, row.independent_images) == ("undecided", 149)
    assert row.independent_agreement == pytest.approx(1 - 0.8 / 149)


def test_copies_of_another_pillow_are_left_out_and_told(run: ColourRun) -> None:
    row = check(run, replace(others(few(run.golden), 0, 5), copies_sha256="another"))
    assert row.remarks[-1] == independent.OTHER_COPIES and row.independent_images == FEW + 5


def test_a_large_test_set_decides_alone(run: ColourRun) -> None:
    found = others(run.golden, 0, 100)
    wrong = replace(found, probabilities=other_classes(found.probabilities))
    evidence = independent.evidence_for(run.artifacts[INT8], wrong)
    row = parity.check(run.folder, run.artifacts[INT8], run.golden, STANDARD, evidence=evidence)
    assert row == run.check(INT8) and row.verdict == "passed"


def test_images_of_another_golden_set_are_not_read(run: ColourRun) -> None:
    path = run.folder.path / independent_images.NAME
    assert independent.read(run.folder, "golden") is None
    independent_images.save(path, others(run.golden, 2, 3))
    found = independent.read(run.folder, "golden")
    assert found is not None and found.sources == (VALIDATION,) * 2 + (EXTRA,) * 3
    assert independent.read(run.folder, "another") is None
    report = verify.verify_run(run.folder, Parity())
    assert [row.independent_sources for row in report.rows] == [{"test": len(run.golden.images)}] * 2


def test_images_that_changed_are_refused(run: ColourRun) -> None:
    path = run.folder.path / independent_images.NAME
    independent_images.save(path, others(run.golden, 2, 3))
    content = path.read_bytes()
    pixels = others(run.golden, 2, 3).images.tobytes()[:64]
    assert pixels in content
    path.write_bytes(content.replace(pixels, bytes(64), 1))
    with pytest.raises(RunError, match="independent"):
        independent.read(run.folder, "golden")
