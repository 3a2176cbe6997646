"""A split without a label: noticed with the choice that mends it, and refused before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.split_data import cache_of, data, share
from tledge.config import Data
from tledge.data import inspection, near_duplicates, split_checks, splits
from tledge.data.cache import Prepared, Row
from tledge.errors import DataError

SHARES = (share("train", 0.2), share("train", 0.2))


def photos(counts: dict[str, int], split: str = "train") -> list[Row]:
    return [Row(f"{split}/{label}/d{n % 3}_{n}", label, split, "") for label, n in each(counts)]


def each(counts: dict[str, int]) -> list[tuple[str, int]]:
    return [(label, number) for label, count in counts.items() for number in range(count)]


def alike(prepared: Prepared, monkeypatch: pytest.MonkeyPatch, *labels: str, others: int = 0) -> None:
    """Make all photos of some labels one group, except the first `others` of each."""
    groups = np.arange(len(prepared.rows))
    for label in labels:
        members = [number for number, row in enumerate(prepared.rows) if row.label == label][others:]
        groups[members] = members[0]
    monkeypatch.setattr(splits, "groups_of", lambda *_arguments: groups)


def refusal(prepared: Prepared, table: Data) -> str:
    rows = splits.split(prepared, table, 0)
    with pytest.raises(DataError) as caught:
        split_checks.require_every_label(prepared, rows, table)
    split_checks.require_every_label(prepared, rows, replace(table, on_missing_label="continue"))
    return str(caught.value)


@pytest.mark.parametrize("swallowed", [("ok",), ("ok", "scratch"), ("dent",)])
def test_near_duplicates_that_hold_a_label_are_refused(
    swallowed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = cache_of(photos({"ok": 60, "scratch": 20, "dent": 12}))
    alike(prepared, monkeypatch, *swallowed)
    text = refusal(prepared, data("train", *SHARES, group="near-duplicates"))
    assert f"no photo of {swallowed[0]}" in text and 'Set [data] group = "none"' in text
    assert "keeps" in text and 'on_missing_label = "continue"' in text


def test_regular_expression_is_told_to_tell_more_apart() -> None:
    prepared = cache_of(photos({"ok": 20, "bad": 20}))
    text = refusal(prepared, data("train", *SHARES, group="^train/(ok|.*)"))
    assert "keeps 20 of the 20 photos of ok" in text and "tell more groups apart" in text
    assert 'Set [data] group = "none" where' not in text


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        (
            [*photos({"ok": 9, "bad": 9}), *photos({"ok": 4}, "test")],
            data("train", share("train", 0.3), "test"),
        ),
        (photos({"ok": 60, "rare": 2}), data("train", *SHARES)),
        (
            [*photos({"ok": 9, "bad": 9}), *photos({"bad": 3}, "val")],
            data("train", "val", share("train", 0.3)),
        ),
    ],
    ids=["test folder", "few photos", "validation folder"],
)
def test_labels_that_folders_lack_are_refused_too(rows: list[Row], table: Data) -> None:
    text = refusal(cache_of(rows), table)
    assert "has no photo of" in text and "Add photos of it to that split" in text and "group" not in text


def test_unused_label_is_not_missing() -> None:
    prepared = replace(cache_of(photos({"ok": 20, "bad": 20})), labels=("bad", "lily", "ok"))
    table = data("train", *SHARES)
    split_checks.require_every_label(prepared, splits.split(prepared, table, 0), table)


@pytest.mark.parametrize(("others", "is_large"), [(0, True), (9, True), (11, False)])
def test_group_of_most_photos_is_noticed(
    others: int, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = cache_of(photos({"ok": 20, "bad": 20}))
    alike(prepared, monkeypatch, "ok", others=others)
    found = split_checks.large_groups(prepared, data("train", *SHARES, group="near-duplicates"))
    assert [(group.label, group.photos) for group in found] == [("ok", 20 - others)] * is_large


def test_groups_of_whole_folders_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = cache_of([*photos({"ok": 8, "bad": 8}), *photos({"ok": 8, "bad": 8}, "test")])
    alike(prepared, monkeypatch, "ok")
    assert not split_checks.large_groups(prepared, data("train", "test", "test", group="none"))


def test_summary_says_what_mends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepared = cache_of(photos({"ok": 60, "bad": 20}), tmp_path)
    alike(prepared, monkeypatch, "ok")
    table = data("train", *SHARES, group="near-duplicates")
    np.save(tmp_path / "images.npy", np.zeros((80, 8, 8, 3), np.uint8))
    monkeypatch.setattr(inspection, "duplicates_of", lambda *_arguments: [])
    monkeypatch.setattr(near_duplicates, "near_duplicate_groups", None)
    rows = splits.split(prepared, table, 0)
    summary = inspection.summarize(prepared, rows, data=table)
    lines = inspection.problems(summary, data=table)
    assert "no photo at all in test: ok: the score says nothing about it" in lines
    assert any("keeps 60 of the 60 photos of ok in one split. Set [data] group" in line for line in lines)
    assert any("`tledge train` stops" in line for line in lines)
