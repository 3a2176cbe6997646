"""Words for terminals and files that take few letters: what an encoding lacks is written otherwise."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from typing import Any

NAME = "tledge._io.encoding"
"""Of the error handler, as `codecs` knows it."""

PLAIN = {
    "–": "-", "…": "...", "→": "->", "Δ": "d", "×": "x", "·": ".", "±": "+-", "≥": ">=", "≤": "<=",
    "°": " deg",
}  # fmt: skip
"""What tables and messages are written with, in ASCII."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no label may hold: it would rule a terminal, break a line or turn the text around it."""


def open_streams() -> None:
    """Put the null device where a process was started without stdin, stdout or stderr.

    Else the next file that is opened has that number, and what native code says goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def allow(*streams: Any) -> None:
    """Let these text streams write what their encoding lacks: in plain letters, else as a number."""
    codecs.register_error(NAME, _plain)
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=NAME)


def as_json(value: object, encoding: str | None = "utf-8") -> str:
    """JSON in an encoding's own letters; in ASCII where it lacks some, such as those of odd file names."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=2)
    return text


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """As `codecs.register_error` wants it: what stands in place, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(one, _number(one)) for one in lacking), error.end


def _number(letter: str) -> str:
    """A letter as its number; one that stands for a byte of a file name that is no text, as that byte."""
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: object) -> str:
    """Text for a terminal: control characters, which would rule it, become `\\x1b`; lines stay lines."""
    return CONTROL.sub(_written, str(text))


def _written(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else found[0].encode("unicode_escape").decode("ascii")
