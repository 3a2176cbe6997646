"""Output where letters or streams are lacking: plain ones stand in, and JSON reads back."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tledge import letters, runs
from tledge.commands import typed

TEXT = "–…→Δ×·±≥≤° é手\udcff"


def written(encoding: str) -> bytes:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    letters.allow(stream)
    stream.write(TEXT)
    stream.flush()
    return raw.getvalue()


def test_plain_letters_stand_in() -> None:
    assert written("ascii") == rb"-...->dx.+->=<= deg \u00e9\u624b\xff"
    assert written("utf-8") == "–…→Δ×·±≥≤° é手".encode() + rb"\xff"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", None])
def test_json_reads_back(encoding: str | None) -> None:
    text = letters.as_json({"name": TEXT}, encoding)
    assert json.loads(text.encode(encoding or "utf-8").decode(encoding or "utf-8")) == {"name": TEXT}


def test_json_keeps_letters_that_fit() -> None:
    assert '"é手"' in letters.as_json("é手")


def test_file_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "report.json", {"photo": "r\udcff.jpg"})
    assert runs.read_json(tmp_path / "report.json", "", "") == {"photo": "r\udcff.jpg"}


@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_take_no_file(streams: str, tmp_path: Path) -> None:
    """Without the null device there, the next file that is opened would be stdout or stderr."""
    code = (
        "from tledge import letters; letters.open_streams(); file = open('data', 'w'); "
        "import os, sys; os.write(1, b'native'); os.write(2, b'native'); print('x'); "
        "print('x', file=sys.stderr); file.write(str(file.fileno() > 2))"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {streams}', sys.executable, code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "data").read_text() == "True", done.stderr


def test_next_command_is_as_typed() -> None:
    assert [typed(Path(one)) for one in ("runs/a", "-a", "b c", "it's")] == [
        "runs/a", "./-a", "'b c'", "'it'\"'\"'s'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b", "'a b'"),
        ("-x", "./-x"),
        ("it's", "'it'\"'\"'s'"),
        ("raw\udcff", r"$'raw\xff'"),
        ("a'\n\\é", r"$'a\x27\x0a\x5c\xc3\xa9'"),
    ],
)
def test_name_is_typed_as_a_shell_reads_it(name: str, shown: str) -> None:
    import os
    import subprocess

    assert typed(name) == shown and shown.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {typed(name)}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout).removeprefix("./") == name
