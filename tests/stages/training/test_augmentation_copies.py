"""Augmentation copies are drawn once, and their file is hashed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fake_models import images
from tests.helpers.recipes import BARE
from tests.helpers.stage_training import one_hot
from tledge import config
from tledge._io import files
from tledge.progress import SILENT
from tledge.recipe import loader
from tledge.training import batches
from tledge.training.augmentation_copies import with_copies


def test_augmentation_copies_are_drawn_once_in_turns(tmp_path: Path) -> None:
    made = loader.parse(BARE, "views.toml")
    made = replace(made, augment=config.Augment(flip="horizontal", rotation=0.2, views=2))
    plain = batches.Examples(images(), one_hot(), np.arange(4, 12))
    first, again = (with_copies(plain, made, tmp_path / name / "views.npy", SILENT) for name in ("a", "b"))
    assert first.copies is not None and first.copies.shape == (2, 8, 32, 32, 3)
    assert np.array_equal(first.copies, again.copies)
    assert np.array_equal(first.copies[0], images()[4:12])
    changed = replace(made, augment=replace(made.augment, keep_photo=False))
    others = with_copies(plain, changed, tmp_path / "c" / "views.npy", SILENT).copies
    assert others is not None and not any(np.array_equal(copy, images()[4:12]) for copy in others)
    taken = [first.take(np.arange(8), epoch) for epoch in range(3)]
    assert np.array_equal(taken[0], taken[2]) and not np.array_equal(taken[0], taken[1])


def test_copies_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage that caches frozen features asks for the hash."""
    np.save(tmp_path / "views.npy", np.zeros((2, 4, 2, 2, 3), np.uint8))
    copies = np.load(tmp_path / "views.npy", mmap_mode="r")
    examples = batches.Examples(copies[0], np.eye(4, dtype=np.float32), np.arange(4), copies)
    wanted, hashed = files.sha256(tmp_path / "views.npy"), []
    monkeypatch.setattr(files, "sha256", lambda path: hashed.append(path) or wanted)
    assert [examples.copies_sha256 for _stage in range(3)] == [wanted] * 3
    assert hashed == [tmp_path / "views.npy"]
    assert replace(examples, copies=None).copies_sha256 == ""
