"""The scalings of pixel values: their figures, their texts, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tledge.errors import RecipeError
from tledge.preprocessing import scaling
from tledge.preprocessing.scaling import SCALINGS, Scaling, from_range, named, parse_scaling

COLOUR = np.array([[[[10, 100, 250]]]], np.uint8)
"""One pixel, more blue than red."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0..255", [10, 100, 250]),
        ("0..255,bgr", [250, 100, 10]),
        ("0..1", [10 / 255, 100 / 255, 250 / 255]),
        ("-1..1", [10 / 127.5 - 1, 100 / 127.5 - 1, 250 / 127.5 - 1]),
        ("caffe", [250 - 103.939, 100 - 116.779, 10 - 123.68]),
        ("caffe,rgb", [10 - 123.68, 100 - 116.779, 250 - 103.939]),
        ("torch", [(10 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (250 / 255 - 0.406) / 0.225]),
        ("torch,bgr", [(250 / 255 - 0.406) / 0.225, (100 / 255 - 0.456) / 0.224, (10 / 255 - 0.485) / 0.229]),
        ("mean=1,2,3,std=2", [4.5, 49, 123.5]),
        ("mean=1,2,3, std=2, bgr", [124.5, 49, 3.5]),
    ],
)
def test_text_gives_these_values(text: str, expected: list[float]) -> None:
    scaled = parse_scaling(text).apply(COLOUR)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[0, 0, 0], expected, rtol=1e-5)


def test_every_name_is_parsed_to_itself() -> None:
    assert [parse_scaling(known.name) for known in SCALINGS] == list(SCALINGS)
    assert len({known.name for known in SCALINGS}) == len(SCALINGS) == 10


@pytest.mark.parametrize(
    "text",
    ["", "0-255", "imagenet", "mean=1", "mean=1,std=0", "mean=nan,std=1", "mean=1,2,std=1", "mean=1,std=-1",
     "mean=1,std=inf", "mean=,std=", "mean=1e999,std=1", "mean=1,std=2,gbr", "x" * 10000],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--scaling") as caught:
        parse_scaling(text)
    assert len(str(caught.value)) < 600


@given(st.text(max_size=40))
def test_any_text_gives_a_scaling_or_the_choices(text: str) -> None:
    try:
        assert np.isfinite(parse_scaling(text).apply(COLOUR)).all()
    except RecipeError as error:
        assert "--scaling" in str(error)


@pytest.mark.parametrize("known", [entry for entry in SCALINGS if not entry.per_channel])
def test_grey_takes_one_number(known: Scaling) -> None:
    grey = np.array([[[[200]]]], np.uint8)
    assert known.apply(grey).shape == (1, 1, 1, 1)


def test_grey_refuses_figures_for_each_colour() -> None:
    with pytest.raises(ValueError, match="grey"):
        parse_scaling("torch").apply(np.zeros((1, 1, 1, 1), np.uint8))


def test_range_finds_the_name() -> None:
    assert from_range(-1, 1).name == "-1..1"
    assert from_range(0, 1).name == "0..1"
    assert from_range(0, 255) == scaling.BYTES
    assert from_range(-1, 1, "BGR").name == "-1..1,bgr"


@given(st.floats(-300, 299), st.floats(0.01, 600))
def test_range_maps_both_ends(low: float, width: float) -> None:
    found = from_range(low, low + width)
    ends = found.apply(np.array([[[[0] * 3, [255] * 3]]], np.uint8))[0, 0, :, 0]
    np.testing.assert_allclose(ends, [low, low + width], atol=max(0.01, 0.001 * width))


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 0), (float("nan"), 1), (0, float("inf"))])
def test_no_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="range"):
        from_range(low, high)


def test_name_of_other_figures_can_be_typed() -> None:
    made = named(Scaling("", (128.0,), (128.0,), "BGR"))
    assert parse_scaling(made.name) == made
    small = named(Scaling("", (1e-05,), (0.25,)))
    assert parse_scaling(small.name) == small
    assert made.describe() == "(byte - 128) / 128, channels BGR"


def test_only_channel_order_differs() -> None:
    assert parse_scaling("torch").has_values_of(parse_scaling("torch,bgr"))
    assert parse_scaling("0..1").has_values_of(parse_scaling("0..1,bgr"))
    assert not parse_scaling("0..1").has_values_of(parse_scaling("-1..1"))
