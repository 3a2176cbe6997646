"""The golden set on the disk: the same again, damage seen."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tledge.errors import RunError
from tledge.run import golden_set
from tledge.run.golden_set import Golden

COUNT, SIDE = 12, 16


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Golden]:
    rng = np.random.default_rng(0)
    made = Golden(
        images=rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8),
        labels=np.arange(COUNT) % 3,
        probabilities=rng.random((COUNT, 3), np.float32),
        ids=tuple(f"test/{number}.jpg" for number in range(COUNT)),
        faults={"channels-swapped": rng.random((4, 3), np.float32)},
    )
    golden_set.save(tmp_path / "golden.npz", made)
    return tmp_path / "golden.npz", made


def test_what_was_saved_is_read(written: tuple[Path, Golden]) -> None:
    path, made = written
    found = golden_set.load(path)
    for name in ("images", "labels", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    assert found.ids == made.ids
    np.testing.assert_array_equal(found.faults["channels-swapped"], made.faults["channels-swapped"])


def test_order_of_columns_is_kept(written: tuple[Path, Golden]) -> None:
    path, made = written
    golden_set.save(path, replace(made, images=np.asfortranarray(made.images)))
    np.testing.assert_array_equal(golden_set.load(path).images, made.images)


def test_set_of_numpy_is_read(written: tuple[Path, Golden]) -> None:
    path, made = written
    np.savez(path, images=made.images, labels=made.labels, probabilities=made.probabilities, ids=made.ids)
    np.testing.assert_array_equal(golden_set.load(path).images, made.images)


def flipped(data: bytes) -> bytes:
    """One bit of a pixel."""
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def longer_by_its_header(data: bytes) -> bytes:
    """Its checksums are right, and its header promises pixels that are not there."""
    return repacked(data, lambda array: array.replace(b"(12, 16", b"(13, 16", 1))


def objects(data: bytes) -> bytes:
    return repacked(data, lambda array: array.replace(b"'|u1'", b"'|O' ", 1))


def repacked(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            array = before.read(name)
            after.writestr(name, change(array) if name == "images.npy" else array)
    return out.getvalue()


@pytest.mark.parametrize("damage", [flipped, cut, longer_by_its_header, objects])
def test_damage_is_seen(written: tuple[Path, Golden], damage: Callable[[bytes], bytes]) -> None:
    path, _ = written
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    with pytest.raises(RunError, match=r"no readable golden set .*Train again"):
        golden_set.load(path)


MISFITS: dict[str, Callable[[Golden], Golden]] = {
    "images of floats": lambda made: replace(made, images=made.images.astype(np.float32)),  # type: ignore[arg-type]
    "images without a side": lambda made: replace(made, images=made.images[..., 0]),
    "no images": lambda made: replace(made, images=made.images[:0]),
    "fewer images": lambda made: replace(made, images=made.images[:3]),
    "fewer labels": lambda made: replace(made, labels=made.labels[:3]),
    "labels out of range": lambda made: replace(made, labels=made.labels + 1),
    "labels below 0": lambda made: replace(made, labels=made.labels - 1),
    "labels of floats": lambda made: replace(made, labels=made.labels.astype(float)),  # type: ignore[arg-type]
    "one row for all": lambda made: replace(made, probabilities=made.probabilities[0]),
    "probabilities of integers": lambda made: replace(made, probabilities=made.probabilities.astype(int)),
    "fewer rows": lambda made: replace(made, probabilities=made.probabilities[:3]),
    "fewer ids": lambda made: replace(made, ids=made.ids[:3]),
    "faults of text": lambda made: replace(made, faults={"x": np.array([["a"] * 3])}),
    "faults of other classes": lambda made: replace(made, faults={"x": made.probabilities[:, :2]}),
}


@pytest.mark.parametrize("misfit", sorted(MISFITS))
def test_what_does_not_fit_together_is_refused(misfit: str, written: tuple[Path, Golden]) -> None:
    path, made = written
    golden_set.save(path, MISFITS[misfit](made))
    with pytest.raises(RunError, match=r"no readable golden set \(.+\)\. Train again"):
        golden_set.load(path)


def test_faults_change_pixels_as_apps_do() -> None:
    """Blue before red; 0 to 1; -1 to 1: worked by hand for black, white and a colour."""
    pixels = np.array([0, 255, 51, 102, 204], np.float32)[:, None] * np.ones(3, np.float32)
    pixels[2] = (51, 102, 204)
    changed = {fault.name: fault.apply(pixels[:, None, None])[:, 0, 0] for fault in golden_set.FAULTS}
    assert changed["channels-swapped"][2].tolist() == [204, 102, 51]
    assert np.allclose(changed["scaled-twice-to-one"][[0, 1, 2], 0], [0, 1, 0.2])
    assert np.allclose(changed["scaled-twice-around-zero"][[0, 1, 2], 0], [-1, 1, -0.6])


@pytest.mark.parametrize(
    ("misfit", "reason"),
    [
        ("images of floats", r"images are float32\[12, 16, 16, 3\], expected uint8\[N, H, W, 3\]"),
        ("one row for all", r"probabilities are float32\[3\], expected float32\[12, classes\]"),
        ("labels of floats", "labels are no 12 numbers from 0 to 2"),
        ("fewer ids", "3 ids for 12 images"),
        ("faults of other classes", r"fault\.x is float32\[12, 2\]"),
    ],
)
def test_message_says_what_does_not_fit(misfit: str, reason: str, written: tuple[Path, Golden]) -> None:
    path, made = written
    golden_set.save(path, MISFITS[misfit](made))
    with pytest.raises(RunError, match=reason):
        golden_set.load(path)


def test_unsigned_labels_and_faults_of_every_image_are_read(written: tuple[Path, Golden]) -> None:
    path, made = written
    kept = replace(made, labels=made.labels.astype(np.uint8), faults={"x": made.probabilities})
    golden_set.save(path, kept)
    found = golden_set.load(path)
    assert found.labels.tolist() == made.labels.tolist() and len(found.faults["x"]) == COUNT


@pytest.mark.parametrize("part", ["ids", "labels", "probabilities"])
def test_fingerprint_is_of_what_was_predicted(part: str, written: tuple[Path, Golden]) -> None:
    _path, golden = written
    changed = {
        "ids": (*golden.ids[:-1], "other"),
        "labels": golden.labels[::-1] + 1,
        "probabilities": np.nextafter(golden.probabilities, np.float32(1)),
    }
    known = golden_set.fingerprint(golden)
    assert golden_set.fingerprint(replace(golden, images=golden.images + 1)) == known
    assert golden_set.fingerprint(replace(golden, **{part: changed[part]})) != known
