"""Names of labels that a source may give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.data.sources.base import Record, file_stamps, require_printable
from tledge.errors import DataError


@pytest.mark.parametrize("label", ["a\nb", "a\r", "a\u2028b", "a\0", " ", "\t", "a\udcff", "\u202eabc", ""])
def test_label_that_no_list_holds_is_refused(label: str) -> None:
    with pytest.raises(DataError, match=r"Rename it|label"):
        require_printable(Record("2.png", label, "train", bytes))


@pytest.mark.parametrize("label", ["a b", "a,b", "🌷", "..", "$\\frac{$", "<b>", " a"])
def test_odd_label_is_kept(label: str) -> None:
    require_printable(Record("1.png", label, "train", bytes))


def test_file_that_vanished_has_a_stamp(tmp_path: Path) -> None:
    """Its photo is named when it is read; a fingerprint is no reason to end."""
    (tmp_path / "here.jpg").write_bytes(b"photo")
    stamps = file_stamps([("here.jpg", tmp_path / "here.jpg"), ("gone.jpg", tmp_path / "gone.jpg")])
    assert stamps[0][:2] == ("here.jpg", 5) and stamps[1] == ("gone.jpg", 0, 0)
