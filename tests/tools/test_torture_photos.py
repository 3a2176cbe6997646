"""The torture of photos and of the preview's server: its own judging notices what it is there for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tledge.preprocessing import image
from torture.inputs import odd_photos, photo_mutations
from torture.support.photo_decoding import DecodingOutcomes, is_clean
from torture.support.preview_server import status
from torture.support.processes import ProcessResult
from torture.workers import photo_decoder


def ended(*lines: dict[str, object], code: int = 0, err: str = "", hung: bool = False) -> ProcessResult:
    """A child that said these lines."""
    return ProcessResult(code, "\n".join(map(json.dumps, lines)), err, 1.0, 100.0, hung)


def after(name: str, fate: str = "refused", reason: str = "9 bytes: damaged (x y).", seconds: float = 0.1):  # type: ignore[no-untyped-def]
    return {"ended": name, "fate": fate, "reason": reason, "seconds": seconds}


def test_good_child_is_counted() -> None:
    tally = DecodingOutcomes()
    assert tally.add(ended({"begun": "a"}, after("a"), {"begun": "b"}, after("b", "prepared", ""))) == ""
    assert tally.seen("").holds and (tally.count("refused"), tally.count("prepared")) == (1, 1)


@pytest.mark.parametrize(
    ("one", "crashes", "hangs"),
    [
        (ended({"begun": "a"}, code=-11), 1, 0),
        (ended({"begun": "a"}, code=1, err="Timeout (0:00:20)!\nThread 0x1"), 0, 1),
        (ended({"begun": "a"}, code=-9, hung=True), 0, 1),
        (ended({"begun": "a"}, after("a", "raised", "KeyError()")), 1, 0),
    ],
)
def test_photo_that_ends_a_child_is_named(one: ProcessResult, crashes: int, hangs: int) -> None:
    tally = DecodingOutcomes()
    tally.add(one)
    assert (tally.crashes, tally.hangs) == (crashes, hangs) and "a" in tally.shortfalls[0]
    assert not tally.seen("").holds


@pytest.mark.parametrize(
    "one",
    [
        ended({"begun": "a"}, after("a", reason="two\nlines of a reason.")),
        ended({"begun": "a"}, after("a", seconds=99)),
        ended(code=1, err="ImportError"),
    ],
)
def test_other_faults_fall_short(one: ProcessResult) -> None:
    tally = DecodingOutcomes()
    tally.add(one)
    assert not tally.seen("").holds


def test_raw_errors_reach_the_tally(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `images` would let through is seen by the child that tries it."""

    def broken(*_arguments: object) -> None:
        raise KeyError("planted")

    (tmp_path / "a.jpg").write_bytes(b"x")
    assert photo_decoder._decode(b"x")["fate"] == "refused"
    monkeypatch.setattr(image, "preprocess", broken)
    assert photo_decoder._decode(b"x")["fate"] == "raised"


def test_clean_reasons() -> None:
    assert is_clean("9 bytes: damaged (some reason).")
    assert not any(
        map(is_clean, ("", "9 bytes: \x1b[31mdamaged.", "9 bytes: damaged, for no end", "x" * 999 + "."))
    )


def test_mutations_repeat_and_differ() -> None:
    some = [photo_mutations.mutate(number) for number in range(300)]
    assert some == [photo_mutations.mutate(number) for number in range(300)]
    assert len({data for _what, data in some}) > 290
    assert {what.partition(":")[0] for what, _data in some} == set(photo_mutations.formats())
    assert photo_mutations.mutate(7, seed=1) != photo_mutations.mutate(7)


@pytest.mark.parametrize("kind", photo_mutations.formats())
def test_seeds_are_photos_of_pieces(kind: str) -> None:
    for data in photo_mutations.seeds()[kind]:
        assert image.preprocess(data, (8, 8)).shape == (8, 8, 3)
        assert b"".join(photo_mutations.pieces(kind, data)) == data
        assert list(photo_mutations.fields(kind, data))


def test_enough_odd_files() -> None:
    assert len(odd_photos.files()) >= 100
    assert {one.fate for one in odd_photos.files().values()} == {"prepared", "refused", "either"}


def test_statuses() -> None:
    answers = (b"HTTP/1.1 404 Not Found\r\n", b"", b"{}", b"HTTP/1.1")
    assert [status(one) for one in answers] == [404, 0, 0, 0]
