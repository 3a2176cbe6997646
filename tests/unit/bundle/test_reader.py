"""Malicious bundles are not opened: nothing is written elsewhere, words say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.bundle import reader
from tledge.errors import ArtifactError


def test_links_lead_nowhere(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (bundle / "labels.txt").unlink()
    (bundle / "labels.txt").symlink_to(tmp_path / "secret.txt")
    opened = reader.open_bundle(bundle)
    with pytest.raises(ArtifactError, match=r"labels\.txt: is a symbolic link to .*secret\.txt"):
        opened.files.read("labels.txt")
    (bundle / "circle").symlink_to("circle")
    for name in ("circle", "a\0b", "../../etc/passwd", "/etc/passwd"):
        with pytest.raises(ArtifactError):
            opened.files.read(name)


def test_folder_of_too_many_files_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_FILES", 5)
    with pytest.raises(ArtifactError, match="more than 5 files"):
        reader.open_bundle(bundle).files.names()
