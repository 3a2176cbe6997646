"""`tledge predict`: what it takes, prints and saves."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.command_line import Cli
from tests.helpers.doubt import FITTED
from tledge.cli import predict as command
from tledge.contract import AbstentionPolicy
from tledge.errors import MissingError
from tledge.inference import predict as predict_module
from tledge.inference import predictor as predictor_module
from tledge.inference.predictor import Predictor

LABELS = ("cat", "dog, old", "owl")


class ByBrightness:
    """A session that predicts class 0 for dark photos, 1 for grey ones, and nothing clear for bright ones."""

    kernels = "none"

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.3, 0.3, 0.4]], np.float32)
        return rows[np.minimum(images.mean((1, 2, 3)).astype(int) // 86, 2)]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(monkeypatch, FITTED)


def fitted(monkeypatch: pytest.MonkeyPatch, policy: AbstentionPolicy | None) -> None:
    opened = Predictor(ByBrightness(), LABELS, (8, 8), "fake", (), policy)
    monkeypatch.setattr(predictor_module, "open_predictor", lambda *_rest: opened)


@pytest.fixture
def photos(somewhere: Path) -> Path:
    """Two dark photos, a grey one, a bright one and a broken one."""
    (somewhere / "photos" / "more").mkdir(parents=True)
    for name, grey in (("1.png", 10), ("2.png", 20), ("10.png", 100), ("more/3.png", 250)):
        Image.new("RGB", (40, 30), (grey,) * 3).save(somewhere / "photos" / name)
    (somewhere / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return somewhere / "photos"


def test_folder_is_predicted_and_summed_up(cli: Cli, photos: Path) -> None:
    done = cli("predict", "model", "photos", "--top", 1)
    assert done.code == 1
    lines = done.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "photos/1.png", "photos/2.png", "photos/10.png", "photos/broken.jpg", "photos/more/3.png",
    ]  # fmt: skip
    assert lines[0].endswith(": cat 83.2%") and lines[4].endswith(": ? owl 36.6%  (unsure: below 62.0%)")
    summary, error = done.err.splitlines()
    assert summary.startswith("5 photos in 0.")
    assert summary.endswith(" s: cat 2, dog, old 1, owl 1; 1 unsure, 1 unreadable")
    assert error == "tledge: 1 of 5 photos could not be read."


def test_one_photo_needs_no_summary(cli: Cli, photos: Path) -> None:
    done = cli("predict", "model", photos / "1.png")
    assert (done.code, done.err, len(done.out.splitlines())) == (0, "", 1)


def test_table_has_a_line_for_each_photo(cli: Cli, photos: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("predict", "model", "photos", "--csv", "--top", 2).out)))
    assert list(rows[0]) == [
        "image", "label", "confidence", "certainty", "label_2", "confidence_2", "error",
    ]  # fmt: skip
    assert [row["label"] for row in rows] == ["cat", "cat", "dog, old", "", "owl"]
    assert [row["certainty"] for row in rows] == ["sure", "sure", "sure", "", "unsure"]
    assert float(rows[0]["confidence"]) == pytest.approx(0.832, abs=1e-3)
    assert "broken.jpg" in rows[3]["error"]


def test_table_tells_nothing_of_a_threshold_that_is_not_set(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(monkeypatch, None)
    rows = list(csv.DictReader(io.StringIO(cli("predict", "model", photos / "1.png", "--csv", "--raw").out)))
    assert (rows[0]["certainty"], rows[0]["raw_probability_3"]) == ("", "0.010000")


def test_photo_that_needs_a_library_stops_no_other(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEIC without pillow-heif: the code is that of a missing library."""
    decode = predict_module.preprocess

    def preprocess(form: Path, *rest: Any) -> NDArray[np.uint8]:
        if form.name == "1.png":
            raise MissingError(f"{form}: needs pillow-heif.")
        return decode(form, *rest)

    monkeypatch.setattr(predict_module, "preprocess", preprocess)
    done = cli("predict", "model", "photos", "--top", 1)
    assert done.code == 5 and len(done.out.splitlines()) == 5
    assert done.out.startswith("photos/1.png: needs pillow-heif.\n")
    assert done.err.endswith("tledge: photos/1.png: needs pillow-heif.\n")


def test_two_tables_are_refused(cli: Cli, photos: Path) -> None:
    done = cli("predict", "model", "photos", "--csv", "--json")
    assert done.code == 2 and "--csv and --json exclude each other" in done.err


def test_photo_comes_from_standard_input(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO((photos / "1.png").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert cli("predict", "model", "-", "--top", 1).out == "-: cat 83.2%\n"


def test_copies_are_saved_beside_no_photo(cli: Cli, photos: Path) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    for _ in range(2):
        done = cli("predict", "model", "photos", "--save", "photos")
        assert done.err.splitlines()[0].endswith("1 unreadable, copies in photos")
    copies = sorted(path for path in photos.rglob("*") if path.is_file() and path not in before)
    assert [path.relative_to(photos).as_posix() for path in copies] == [
        "1.predicted.jpg", "10.predicted.jpg", "2.predicted.jpg", "more/3.predicted.jpg",
    ]  # fmt: skip
    assert all(path.read_bytes() == content for path, content in before.items())
    with Image.open(copies[1]) as copy:
        assert copy.height > 30 and copy.getpixel((copy.width // 2, 15)) == pytest.approx((100,) * 3, abs=3)


def test_bar_comes_after_two_seconds_and_spares_the_results(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "QUICK", -1.0)
    done = cli("predict", "model", "photos", "--json")
    assert [answer["image"] for answer in json.loads(done.out)][-1] == "photos/more/3.png"
    assert len(cli("predict", "model", "photos").out.splitlines()) == 5
