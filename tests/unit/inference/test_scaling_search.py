"""The scaling of a loose model is found by labelled photos, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import Cli
from tests.helpers.loose_models import colour, onnx_model, write
from tledge.errors import RecipeError
from tledge.inference.scaling_search import decide, find_scaling
from tledge.metrics.scaling_choice import CandidateScore, Choice

NEAR_THE_MIDDLE = (118, 137)
"""Grey values for which only a middle of 127.5 tells dark from bright: that of caffe and torch is lower."""


def model(folder: Path, **more: Any) -> Path:
    """A model that tells bright from dark at a mean value of 0."""
    return write(folder, onnx_model(weights=[[-9.0, 9.0]] * 3, **more), "dark\nbright\n")


def photos(root: Path, count: int = 60, values: tuple[int, int] = NEAR_THE_MIDDLE) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        low, high = (values[0], 126) if number % 2 else (129, values[1])
        place = root / ("dark" if number % 2 else "bright")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour(*[int(rng.integers(low, high + 1))] * 3)).save(place / f"{number}.png")
    return root


def test_clear_scaling_is_found(tmp_path: Path) -> None:
    found = find_scaling(model(tmp_path / "m"), photos(tmp_path / "photos"))
    assert found.scaling and found.scaling.name == "-1..1"
    assert found.choice.scores[0].right == 60 and found.choice.equals == ("-1..1,bgr",)


@pytest.mark.parametrize(("count", "values"), [(20, NEAR_THE_MIDDLE), (60, (20, 230))])
def test_photos_that_cannot_tell_ask(tmp_path: Path, count: int, values: tuple[int, int]) -> None:
    path = model(tmp_path / "m")
    found = find_scaling(path, photos(tmp_path / "photos", count, values))
    assert found.scaling is None
    with pytest.raises(RecipeError, match=r"labelled photos.*--scaling"):
        found.require(path)


def test_equal_predictions_with_other_values_ask() -> None:
    scores = tuple(
        CandidateScore(name, 60, 60, 0.9, 1.0, "" if name == "0..1" else "0..1")
        for name in ("0..1", "0..255")
    )
    found = decide(Choice("0..1", scores, 0.0))
    assert found.scaling is None and "predict the same for every photo" in found.choice.reason


def test_photos_without_labels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(colour(1, 2, 3)).save(tmp_path / "a.png")
    with pytest.raises(RecipeError, match="needs labels"):
        find_scaling(model(tmp_path / "m"), tmp_path)


def test_any_size_needs_a_size(tmp_path: Path) -> None:
    path = model(tmp_path / "m", size=("H", "W"))
    with pytest.raises(RecipeError, match="--image-size"):
        find_scaling(path, tmp_path)


def test_grey_models_try_what_fits_them(tmp_path: Path) -> None:
    path = write(tmp_path / "m", onnx_model(weights=[[-9.0, 9.0]], channels=1, nchw=True), "dark\nbright\n")
    found = find_scaling(path, photos(tmp_path / "photos"))
    assert found.scaling and found.scaling.name == "-1..1" and len(found.choice.scores) == 3


def test_predict_asks_or_uses_photos(tmp_path: Path, cli: Cli) -> None:
    path, root = model(tmp_path / "m"), photos(tmp_path / "photos")
    bright = next((root / "bright").iterdir())
    asked = cli("predict", path, bright)
    assert asked.code == 2 and "does not say how its pixels are scaled" in asked.err
    done = cli("predict", path, bright, "--scaling", "auto", "--photos", root)
    assert done.code == 0 and ": bright " in done.out and "100.0% of 60 photos right" in done.err
    given = cli("predict", path, bright, "--scaling", "-1..1")
    assert given.out == done.out and "Pixels are scaled as -1..1, from --scaling." in given.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--scaling", "auto"), "go together"),
        (("--photos", "x"), "go together"),
        (("--scaling", "imagenet"), "is not a scaling"),
        (("--scaling", "0..1", "--image-size", "9"), "takes images of 8x8"),
        (("--image-size", "0x9"), "expected 1 to"),
        (("--image-size", "big"), "expected a number of pixels"),
    ],
)
def test_options_that_do_not_fit_are_two(
    tmp_path: Path, cli: Cli, options: tuple[str, ...], words: str
) -> None:
    done = cli("predict", model(tmp_path), "photo.jpg", *options)
    assert done.code == 2 and words in done.err


def test_bundle_takes_no_scaling(cli: Cli, shared_bundle: Path) -> None:
    done = cli("predict", shared_bundle, "photo.jpg", "--scaling", "0..1")
    assert done.code == 2 and "for single .tflite and .onnx files" in done.err
