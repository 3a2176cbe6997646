"""Output where letters or streams are lacking: plain ones stand in, and no text rules the terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli
from tledge._io import encoding as io_encoding

TEXT = "–…→Δ×·±≥≤° é手\udcff"


def written(encoding: str) -> bytes:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    io_encoding.use_fallbacks(stream)
    stream.write(TEXT)
    stream.flush()
    return raw.getvalue()


def test_plain_letters_stand_in() -> None:
    assert written("ascii") == rb"-...->dx.+->=<= deg \u00e9\u624b\xff"
    assert written("utf-8") == "–…→Δ×·±≥≤° é手".encode() + rb"\xff"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", None])
def test_json_reads_back(encoding: str | None) -> None:
    text = io_encoding.as_json({"name": TEXT}, encoding)
    assert json.loads(text.encode(encoding or "utf-8").decode(encoding or "utf-8")) == {"name": TEXT}


def test_json_keeps_letters_that_fit() -> None:
    assert '"é手"' in io_encoding.as_json("é手")


@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_take_no_file(streams: str, tmp_path: Path) -> None:
    """Without the null device there, the next file that is opened would be stdout or stderr."""
    code = (
        "from tledge._io import encoding as letters; letters.open_streams(); file = open('data', 'w'); "
        "import os, sys; os.write(1, b'native'); os.write(2, b'native'); print('x'); "
        "print('x', file=sys.stderr); file.write(str(file.fileno() > 2))"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {streams}', sys.executable, code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "data").read_text() == "True", done.stderr


RULING = "a\x1b[2J\x07\x9b\u202eb\u2066\u200f\u061c\u2028\r\x7f"


def test_nothing_rules_a_terminal() -> None:
    escaped = r"a\x1b[2J\x07\x9b\u202eb\u2066\u200f\u061c\u2028\r\x7f"
    assert io_encoding.printable(f"{RULING}\n\tc") == f"{escaped}\n\tc"
    assert io_encoding.one_line(f"{RULING}\n\tc") == rf"{escaped}\n\tc"


def test_letters_of_other_scripts_stay() -> None:
    """Joiners make letters of Persian and pictures of several; they rule nothing."""
    text = "É手 שלום می\u200cخواهم 👩\u200d🔬 [bold]"
    assert io_encoding.printable(text) == io_encoding.one_line(text) == text


def test_json_rules_no_terminal() -> None:
    text = io_encoding.as_json({RULING: [RULING]})
    assert not set(text) & (set(RULING) - set("a[2Jb")) and json.loads(text) == {RULING: [RULING]}


def test_terminal_is_not_ruled(cli: Cli, shared_bundle: Path, tmp_path: Path) -> None:
    photo = tmp_path / "\x1b[2Jphoto.jpg"
    photo.write_bytes(b"no photo")
    done = cli("predict", shared_bundle, photo)
    assert done.code == 1 and "\x1b" not in done.out + done.err and "\\x1b[2Jphoto.jpg" in done.out
    assert io_encoding.printable("a\nb\tc \x1b[2J \x9b \u202e") == "a\nb\tc \\x1b[2J \\x9b \\u202e"
