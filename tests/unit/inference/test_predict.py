"""What a person and a program see of a model's doubt when it predicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import tledge
from tests.helpers.command_line import Cli
from tests.helpers.doubt import FITTED
from tledge.contract import AbstentionPolicy
from tledge.inference import predict
from tledge.inference import predictor as predictor_module
from tledge.inference.predict import Answer
from tledge.inference.predictor import Predictor


class Fixed:
    """A session that answers the same to every photo."""

    kernels = "none"

    def __init__(self, *probabilities: float) -> None:
        self._row = np.array(probabilities, np.float32)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([self._row] * len(images))


def predictor(fitted: AbstentionPolicy | None, *probabilities: float) -> Predictor:
    return Predictor(Fixed(*probabilities), ("cat", "dog", "owl"), (8, 8), "fake", (), fitted)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), (90, 120, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def answer(photo: Path, fitted: AbstentionPolicy | None, *probabilities: float, top: int = 3) -> Answer:
    (found,) = predict.predict(predictor(fitted, *probabilities), [photo], top)
    return found


def test_one_number_for_one_prediction(photo: Path) -> None:
    found = answer(photo, FITTED, 0.04, 0.64, 0.32)
    assert [one.label for one in found.predictions] == ["dog", "owl", "cat"]
    assert [one.raw_probability for one in found.predictions] == pytest.approx([0.64, 0.32, 0.04])
    assert [one.confidence for one in found.predictions] == pytest.approx([0.511, 0.361, 0.128], abs=1e-3)
    assert all(one.probability == one.confidence for one in found.predictions)


@pytest.mark.parametrize(("best", "abstained"), [(0.64, True), (0.9, False)])
def test_doubt_is_decided_at_the_temperature(photo: Path, best: float, abstained: bool) -> None:
    """.64 is above the threshold of .62, and its confidence of .48 is not."""
    rest = (1 - best) / 2
    assert answer(photo, FITTED, best, rest, rest).abstained is abstained
    assert answer(photo, FITTED, best, rest, rest, top=1).abstained is abstained


def test_confidence_at_the_threshold_answers(photo: Path) -> None:
    for threshold, abstained in ((0.5, False), (0.5001, True)):
        assert answer(photo, AbstentionPolicy(1.0, threshold), 0.5, 0.25, 0.25).abstained is abstained


def test_nothing_fitted_changes_nothing(photo: Path) -> None:
    """Of a model made elsewhere, whose numbers need not even be probabilities."""
    found = answer(photo, None, 3.5, -1.0, 0.25)
    assert found.abstained is False
    assert [one.confidence for one in found.predictions] == [3.5, 0.25, -1.0]


def test_bad_photo_is_no_doubt(tmp_path: Path) -> None:
    found = answer(tmp_path / "none.png", FITTED, 0.4, 0.3, 0.3)
    assert found.error and not found.abstained


def opened(monkeypatch: pytest.MonkeyPatch, fitted: AbstentionPolicy | None, *probabilities: float) -> None:
    monkeypatch.setattr(predictor_module, "open_predictor", lambda *_rest: predictor(fitted, *probabilities))


def test_doubt_is_shown(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, FITTED, 0.64, 0.04, 0.32)
    done = cli("predict", "model", photo, "--top", "2")
    assert done.code == 0
    assert done.out == f"{photo}: ? cat 51.1%  owl 36.1%  (unsure: below 62.0%)\n"


def test_sure_answer_is_shown_plainly(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, replace(FITTED, threshold=0.5), 0.64, 0.04, 0.32)
    assert cli("predict", "model", photo, "--top", "1").out == f"{photo}: cat 51.1%\n"
    opened(monkeypatch, None, 0.64, 0.04, 0.32)
    assert cli("predict", "model", photo, "--top", "1").out == f"{photo}: cat 64.0%\n"


def test_json_tells_doubt_from_answer(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold, abstained in ((0.62, True), (0.5, False)):
        opened(monkeypatch, replace(FITTED, threshold=threshold), 0.64, 0.04, 0.32)
        (found,) = json.loads(cli("predict", "model", photo, "--json").out)
        assert found["abstained"] is abstained and found.keys() == {"image", "predictions", "abstained"}
        best = found["predictions"][0]
        assert best.keys() == {"label", "probability", "confidence"}
        assert best["probability"] == best["confidence"] == pytest.approx(0.511, abs=1e-3)


def test_raw_probability_is_shown_only_where_asked(
    cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(monkeypatch, replace(FITTED, threshold=0.5), 0.64, 0.04, 0.32)
    (found,) = json.loads(cli("predict", "model", photo, "--json", "--raw").out)
    assert found["predictions"][0]["raw_probability"] == pytest.approx(0.64)
    assert cli("predict", "model", photo, "--raw", "--top", "1").out == f"{photo}: cat 51.1% (raw 64.0%)\n"


def test_json_says_where_nothing_was_calibrated(
    cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fitted, told in ((None, {"calibrated": False}), (FITTED, {})):
        opened(monkeypatch, fitted, 0.64, 0.04, 0.32)
        (found,) = json.loads(cli("predict", "model", photo, "--json").out)
        assert {name: value for name, value in found.items() if name == "calibrated"} == told


class Watched(Fixed):
    """A session that keeps the pixels that it is given."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen = images
        return super().run(images)


def test_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    """EXIF orientation 6: stored with the scene's left side at the bottom."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=orientation)
    session = Watched(1.0, 0.0, 0.0)
    watching = Predictor(session, ("cat", "dog", "owl"), (8, 8), "fake", (), None)
    for photo in (tmp_path / "turned.png", (tmp_path / "turned.png").read_bytes()):
        list(predict.predict(watching, [photo], 1))
        np.testing.assert_array_equal(session.seen[0], pixels)


def test_list_of_photos_gives_a_list(photo: Path) -> None:
    """In Python: paths, bytes, images of Pillow and pixels, and one that is none among them."""
    with Image.open(photo) as image:
        image.load()
        photos = [photo, str(photo), photo.read_bytes(), image, np.asarray(image), photo.parent / "none.png"]
        model = tledge.Classifier(predictor(FITTED, 0.64, 0.04, 0.32))
        answers, same = model.predict(photos, top=1), model.predict(tuple(photos))
    assert [answer.best.label for answer in answers[:-1]] == ["cat"] * 5 and len(same) == 6
    assert "no such file" in answers[-1].error
