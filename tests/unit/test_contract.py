"""The labels as text."""

from __future__ import annotations

import pytest

from tests.helpers.manifests import MANIFEST
from tledge.contract import labels_text, parse_labels


def test_label_index_finds_label() -> None:
    assert MANIFEST.label_index("red rose") == 1
    with pytest.raises(ValueError, match="not in"):
        MANIFEST.label_index("tulip")


@pytest.mark.parametrize(
    "labels",
    [
        (),
        ("one",),
        ("Gänseblümchen", "バラ", "🌷 tulip"),
        (" leading", "trailing ", "two  spaces"),
        ("line\u2028separator", "no-break\u00a0space"),
        ("a", " "),
    ],
    ids=repr,
)
def test_labels_come_back_exactly(labels: tuple[str, ...]) -> None:
    assert parse_labels(labels_text(labels)) == labels


def test_labels_are_one_a_line() -> None:
    assert labels_text(("rock", "paper")) == "rock\npaper\n"
    assert parse_labels("rock\npaper") == ("rock", "paper")
