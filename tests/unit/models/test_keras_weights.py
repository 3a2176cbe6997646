"""Weights that Keras downloaded before: used where no other account could have exchanged them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.strangers import give_away
from tledge.errors import ResourceError
from tledge.models import classifier


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights in a folder of Keras, which is a link, as on a stick."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "net.h5").touch()
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "models").symlink_to(tmp_path / "stick")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "stick" / "net.h5"


def test_own_weights_are_used(weights: Path) -> None:
    classifier._require_own_weights()


def test_no_weights_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    classifier._require_own_weights()


@pytest.mark.parametrize("place", ["stick/net.h5", "stick", "keras", "keras/models"])
def test_weights_of_another_account(
    weights: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_away(monkeypatch, tmp_path / place)
    with pytest.raises(ResourceError, match=r"belongs to.*exchange the weights.*KERAS_HOME"):
        classifier._require_own_weights()


@pytest.mark.parametrize("place", ["stick/net.h5", "stick", "keras"])
def test_weights_that_others_may_change(weights: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).chmod(0o777)
    with pytest.raises(ResourceError, match=r"may be changed by other accounts.*KERAS_HOME"):
        classifier._require_own_weights()


def test_folder_that_keras_takes_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras uses one in /tmp without a word where it may not write into its own."""
    looked_at: list[Path] = []
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "read-only"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "is_dir", lambda _path: False)
    monkeypatch.setattr("tledge._io.ownership.require_own", lambda path, *_: looked_at.append(path))
    classifier._require_own_weights()
    assert looked_at == [Path("/tmp/.keras/models")]
