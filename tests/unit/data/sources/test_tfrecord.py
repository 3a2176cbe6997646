"""The source `tfrecord` without TensorFlow: files and options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.sources import options, prepared, touch
from tledge.data.sources import tfrecord
from tledge.errors import MissingError, RecipeError


@pytest.mark.parametrize("pattern", ["*.tfrec", "none.tfrec", "", "no/**/*.tfrec"])
def test_tfrecord_without_files(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(MissingError, match="no file matches"):
        tfrecord.scan(options(tfrecord, pattern=str(tmp_path / pattern))).fingerprint()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"compression": "gzip"}, r"'gzip': expected one of \('', 'GZIP', 'ZLIB'\)"),
        ({"labels": ["a", 3]}, "labels: expected a list of names"),
        ({"labels": ["a", ""]}, "labels: expected a list of names"),
        ({"labels": ["a", "b", "a"]}, "labels: 'a' is listed more than once"),
    ],
    ids=["compression", "number", "empty", "twice"],
)
def test_tfrecord_bad_options(tmp_path: Path, chosen: dict[str, object], message: str) -> None:
    touch(tmp_path, "a.tfrec")
    with pytest.raises(RecipeError, match=message):
        prepared(f"tfrecord:{tmp_path}/*.tfrec", **chosen)


def test_tfrecord_fingerprint_sees_changes(tmp_path: Path) -> None:
    touch(tmp_path, "a.tfrec", "b.tfrec")
    chosen = options(tfrecord, pattern=f"{tmp_path}/*.tfrec")
    before = tfrecord.scan(chosen).fingerprint()
    assert tfrecord.scan(chosen).fingerprint() == before
    (tmp_path / "b.tfrec").write_bytes(b"other")
    assert tfrecord.scan(chosen).fingerprint() != before
