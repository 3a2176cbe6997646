"""Write text to terminals and files with a limited character set, with fallbacks for missing characters."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from tledge.errors import RecipeError

HANDLER = "tledge._io.encoding"
"""Name of the error handler in `codecs`."""

ASCII_FORMS = {
    "–": "-", "…": "...", "→": "->", "Δ": "d", "×": "x", "·": ".", "±": "+-", "≥": ">=", "≤": "<=",
    "°": " deg", "✓": "+", "✗": "x", "━": "#", "─": "-",
}  # fmt: skip
"""ASCII forms of the special characters in tables and messages."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that no label may contain: they control a terminal, break a line or reverse text direction."""

_HIDDEN = re.compile(f"{CONTROL.pattern[:-1]}\u061c\u200e\u200f]")
"""What no terminal gets: also the marks of direction that labels in Arabic or Hebrew may need."""


def open_streams() -> None:
    """Open the null device as stdin, stdout or stderr where the process was started without it.

    Otherwise the next file that is opened gets that number, and output of native code goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def require_utf8_names(names: Iterable[str]) -> None:
    """Raise RecipeError where Python read the UTF-8 name of a file with another encoding.

    It does so under `PYTHONUTF8=0` with the locale C: every letter outside ASCII becomes a lone surrogate,
    which neither a recipe nor a message can hold.
    """
    for name in names:
        if CONTROL.search(name) and (right := _as_utf8(name)):
            raise RecipeError(
                f"{right!r}: Python reads names of files as {sys.getfilesystemencoding()} here. Set "
                "PYTHONUTF8=1, then run the command again."
            )


def _as_utf8(name: str) -> str:
    """Return a name as its bytes read in UTF-8, or "" where they are none or it is right already."""
    try:
        right = os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return ""
    return right if right != name else ""


def use_fallbacks(*streams: Any) -> None:
    """Let text streams write characters that their encoding lacks: in an ASCII form, else as a number."""
    codecs.register_error(HANDLER, _replace_missing)
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def as_json(value: object, encoding: str | None = "utf-8") -> str:
    """Return JSON with unescaped characters, or in ASCII if the encoding lacks one.

    Characters that control a terminal or turn text around are always escaped, as in odd file names.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    text = _HIDDEN.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=2)
    return text


def _replace_missing(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return the replacement and the position after it, as `codecs.register_error` requires."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(ASCII_FORMS.get(letter, _escape(letter)) for letter in missing), error.end


def _escape(letter: str) -> str:
    """Write a character as its number; a byte of a file name that is no valid text, as that byte."""
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: object) -> str:
    """Make text safe for a terminal: control characters become escapes such as `\\x1b`; line breaks stay."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in "\n\t" else _escaped(match), str(text))


def one_line(text: object) -> str:
    """Make text safe as one line of a terminal: as `printable`, with line breaks escaped as well."""
    return _HIDDEN.sub(_escaped, str(text))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
