"""What training refuses before it builds a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.recipes import BARE
from tests.helpers.split_data import cache_of
from tledge.data.cache import Row
from tledge.errors import DataError
from tledge.recipe import loader
from tledge.training import pipeline


class BeganError(Exception):
    """Training got as far as building its network."""


@pytest.mark.parametrize(
    ("on_missing", "split", "resume", "expected"),
    [
        ("stop", "test", False, DataError),
        ("stop", "val", False, DataError),
        ("stop", "test", True, BeganError),
        ("continue", "test", False, BeganError),
        ("continue", "val", False, BeganError),
    ],
)
def test_split_without_a_label_is_refused(
    on_missing: str,
    split: str,
    resume: bool,
    expected: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    rows = [
        Row(f"{part}/{label}/{n}", label, part, "")
        for part in ("train", "val", "test")
        for label in ("ok", "bad")
        for n in range(3)
        if (part, label) != (split, "ok")
    ]

    def build(*_arguments: Any) -> None:
        raise BeganError

    monkeypatch.setattr(pipeline, "_prepare", lambda _request: cache_of(rows))
    monkeypatch.setattr(pipeline, "_build", build)
    monkeypatch.setattr(pipeline.registry, "require", lambda _recipe: None)
    monkeypatch.setattr(pipeline.optional_imports, "load", lambda *_arguments: None)
    monkeypatch.setattr(pipeline, "_seed", lambda *_arguments: None)
    monkeypatch.setattr(pipeline.accelerators, "engine", lambda *_arguments: None)
    monkeypatch.setattr(pipeline.resume_guard, "claim", lambda *_arguments, **_options: None)
    splits = [f'data.splits.{name}="{value}"' for name, value in (("validation", "val"), ("test", "test"))]
    recipe = loader.parse(BARE, "x.toml", [f"data.on_missing_label={on_missing}", *splits])
    with pytest.raises(expected):
        pipeline.train(recipe, BARE, tmp_path / "run", resume=resume)
