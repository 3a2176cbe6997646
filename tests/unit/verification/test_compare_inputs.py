"""Which images two models are compared on, and what is said where that is less than fair."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_pairs
from tests.helpers.fake_pairs import COUNT, PHOTOS, truth
from tledge.errors import ArtifactError, RunError
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.verification import compare_inputs
from tledge.verification.compare_inputs import ImageKind, ImageSet, ModelSide


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return fake_pairs.run(tmp_path / "old")


def opened(path: Path, scratch: Path) -> ModelSide:
    return compare_inputs.open_side(path, scratch / f"side-{len(list(scratch.iterdir()))}")


def pair(a: Path, b: Path, scratch: Path) -> ImageSet:
    return compare_inputs.choose_images(opened(a, scratch), opened(b, scratch))


def test_run_and_its_bundle_say_the_same(old: Path, tmp_path: Path) -> None:
    run, bundle = opened(old, tmp_path), opened(fake_pairs.bundle(old), tmp_path)
    assert (run.labels, run.input, run.output) == (bundle.labels, bundle.input, bundle.output)
    assert run.photos == bundle.photos and len(run.photos) == PHOTOS
    assert [one.variant for one in run.artifacts] == [one.variant for one in bundle.artifacts]
    assert run.golden is not None and bundle.golden is None


def test_photos_carry_their_labels(old: Path, tmp_path: Path) -> None:
    found = [one.label for one in opened(old, tmp_path).photos]
    assert found == [fake_pairs.LABELS[label] for label in truth()[-PHOTOS:]]


def test_test_images_of_b_come_first(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", seed=1)
    made = pair(old, new, tmp_path)
    kept = golden_set.load(RunFolder(new).golden)
    assert np.array_equal(made.a, kept.images) and np.array_equal(made.b, kept.images)
    assert made.origin == f"{COUNT} test images of {new}" and not made.few
    assert made.labels == tuple(fake_pairs.LABELS[label] for label in kept.labels)


def test_those_of_a_serve_a_bundle(old: Path, tmp_path: Path) -> None:
    made = pair(old, fake_pairs.bundle(old), tmp_path)
    assert made.origin == f"{COUNT} test images of {old}" and made.cautions == ()


def test_other_splits_are_warned_of(old: Path, tmp_path: Path) -> None:
    """None of A's test images are B's: A may have learned from B's."""
    new = fake_pairs.run(tmp_path / "new", seed=1)
    (line,) = pair(old, new, tmp_path).cautions
    assert line.startswith(f"0 of the {COUNT} test images known of {old} are among these")
    assert "may have been trained on others of them" in line
    bundle = fake_pairs.bundle(old)
    (line,) = pair(bundle, new, tmp_path).cautions
    assert line.startswith(f"0 of the {PHOTOS} test images known of {bundle}")
    assert pair(bundle, old, tmp_path).cautions == ()


def test_partly_shared_splits_are_warned_of(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new")
    path = RunFolder(new).golden
    kept = golden_set.load(path)
    part = golden_set.Golden(kept.images[:60], kept.labels[:60], kept.probabilities[:60], kept.ids[:60], {})
    golden_set.save(path, part)
    (new / "golden" / "photos.json").write_text("[]")
    (line,) = pair(old, new, tmp_path).cautions
    assert line.startswith(f"60 of the {COUNT} test images known of {old} are among these")


def test_runs_of_two_sizes_share_their_test_images(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.enlarged(fake_pairs.run(tmp_path / "new"))
    made = pair(old, new, tmp_path)
    assert made.origin == f"{COUNT} test images that both runs have, each preprocessed for its model"
    assert made.a.shape[1:3] == (8, 8) and made.b.shape[1:3] == (16, 16)
    assert np.abs(made.a.mean((1, 2)) - made.b.mean((1, 2))).max() < 1
    assert made.cautions == () and not made.few


def test_order_of_test_images_may_differ(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.enlarged(fake_pairs.run(tmp_path / "new"))
    path = RunFolder(new).golden
    kept = golden_set.load(path)
    turned = golden_set.Golden(
        kept.images[::-1], kept.labels[::-1], kept.probabilities, kept.ids[:0:-1] + kept.ids[:1], {}
    )
    golden_set.save(path, turned)
    made = pair(old, new, tmp_path)
    assert len(made.labels) == COUNT
    assert np.abs(made.a.mean((1, 2)) - made.b.mean((1, 2))).max() < 1


@pytest.mark.parametrize("fault", ["other photos", "other ids", "other labels"])
def test_equal_ids_are_not_believed(old: Path, tmp_path: Path, fault: str) -> None:
    """Ids such as those of drawn photos repeat across seeds: what they show must agree, and the label."""
    new = fake_pairs.enlarged(fake_pairs.run(tmp_path / "new"))
    path = RunFolder(new).golden
    kept = golden_set.load(path)
    images = kept.images if fault != "other photos" else kept.images[::-1]
    ids = kept.ids if fault != "other ids" else tuple(f"x{name}" for name in kept.ids)
    labels = kept.labels if fault != "other labels" else (kept.labels + 1) % 3
    golden_set.save(path, golden_set.Golden(images, labels, kept.probabilities, ids, {}))
    made = pair(old, new, tmp_path)
    assert made.few and len(made.labels) <= 2 * PHOTOS


def test_photos_are_prepared_for_each(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.bundle(fake_pairs.enlarged(fake_pairs.run(tmp_path / "new")))
    made = pair(old, new, tmp_path)
    assert made.few and made.cautions == () and made.origin == f"{PHOTOS} photos that came with A and B"
    assert made.a.shape == (PHOTOS, 8, 8, 3) and made.b.shape == (PHOTOS, 16, 16, 3)


def test_photos_of_both_are_taken_once(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.bundle(fake_pairs.run(tmp_path / "new", seed=1))
    made = pair(fake_pairs.bundle(old), new, tmp_path)
    assert len(made.labels) == 2 * PHOTOS
    assert made.cautions == (compare_inputs.SEPARATE_SPLITS,)
    assert len(pair(new, new, tmp_path).labels) == PHOTOS


def test_unknown_labels_are_left_out(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", labels=("cat", "dog", "fox"), of=("cat", "dog"))
    made = pair(new, old, tmp_path)
    owls = int((golden_set.load(RunFolder(old).golden).labels == 2).sum())
    assert made.left_out == owls > 0 and "owl" not in made.labels
    assert len(made.a) == len(made.b) == len(made.labels) == COUNT - owls


@pytest.mark.parametrize(
    "text", ["{", "[{}]", '[{"photo": "00.png"}]', "[3]", '[{"photo": "00.png", "row": 999}]']
)
def test_damaged_list_of_photos_is_named(old: Path, tmp_path: Path, text: str) -> None:
    (old / "golden" / "photos.json").write_text(text)
    with pytest.raises(RunError, match=r"photos\.json: incomplete, or written by another version of tledge"):
        opened(old, tmp_path)


def test_undecodable_photo_is_named(old: Path, tmp_path: Path) -> None:
    bundle = fake_pairs.bundle(old)
    (bundle / "golden" / "00.png").write_bytes(b"no photo")
    with pytest.raises(ArtifactError, match="a golden photo does not decode"):
        pair(bundle, bundle, tmp_path)


def test_missing_photo_is_named(old: Path, tmp_path: Path) -> None:
    bundle = fake_pairs.bundle(old)
    (bundle / "golden" / "00.png").unlink()
    with pytest.raises(ArtifactError, match=r"no file golden/00\.png"):
        opened(bundle, tmp_path)


def test_run_without_artifacts_is_refused(old: Path, tmp_path: Path) -> None:
    for path in (old / "artifacts").glob("*.json"):
        path.unlink()
    with pytest.raises(RunError, match="no artifacts to measure"):
        opened(old, tmp_path)


def test_ids_stand_for_their_rows(old: Path) -> None:
    """The fixture itself: labels, ids and photos fit each other."""
    kept = golden_set.load(RunFolder(old).golden)
    index = json.loads((old / "golden" / "photos.json").read_text())
    assert len(set(kept.ids)) == COUNT and [one["row"] for one in index] == list(range(COUNT - PHOTOS, COUNT))
    assert len({one.tobytes() for one in kept.images}) == COUNT


def kind_of(a: Path, b: Path, scratch: Path) -> ImageKind:
    return pair(a, b, scratch).kind


def test_kind_test_set_of_b(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", seed=1)
    assert kind_of(old, new, tmp_path) is ImageKind.TEST_SET_OF_B
    assert kind_of(fake_pairs.bundle(old), new, tmp_path) is ImageKind.TEST_SET_OF_B


def test_kind_test_set_of_a(old: Path, tmp_path: Path) -> None:
    """B is a bundle, which has no test set of its own."""
    new = fake_pairs.bundle(fake_pairs.run(tmp_path / "new", seed=1))
    assert kind_of(old, new, tmp_path) is ImageKind.TEST_SET_OF_A


def test_kind_common_test_images(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.enlarged(fake_pairs.run(tmp_path / "new"))
    assert kind_of(old, new, tmp_path) is ImageKind.COMMON_TEST_IMAGES


@pytest.mark.parametrize("case", ["two bundles", "other input", "few in common"])
def test_kind_bundled_photos(old: Path, tmp_path: Path, case: str) -> None:
    new = fake_pairs.run(tmp_path / "new")
    if case != "two bundles":
        fake_pairs.enlarged(new)
    if case == "few in common":  # no more than the photos of both
        path = RunFolder(new).golden
        kept = golden_set.load(path)
        renamed = COUNT - 2 * PHOTOS
        ids = (*(f"x{name}" for name in kept.ids[:renamed]), *kept.ids[renamed:])
        golden_set.save(path, golden_set.Golden(kept.images, kept.labels, kept.probabilities, ids, {}))
    a = fake_pairs.bundle(old) if case == "two bundles" else old
    b = new if case == "few in common" else fake_pairs.bundle(new)
    made = pair(a, b, tmp_path)
    assert made.kind is ImageKind.BUNDLED_PHOTOS and made.few
