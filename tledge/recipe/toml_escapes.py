r"""Find backslashes in double-quoted TOML strings that were not meant as escapes.

Between double quotes a backslash begins an escape: `"D:\fotos"` holds a form feed, and `"C:\Users"` is not
valid. People write Windows paths and regular expressions that way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MEANINGS = {"b": "a backspace", "f": "a form feed", "n": "a new line", "r": "a carriage return", "t": "a tab"}
"""What the escapes of one letter stand for; any of these letters may also begin a name."""

PROSE = ("description", "licence")
"""Keys whose text may hold tabs and new lines."""

SHOWN = 80
"""Characters of a string that a message quotes."""

_STRINGS = re.compile(
    r'#[^\n]*|"{3}(?:\\.|[^\\])*?"{3}|\'{3}.*?\'{3}|\'[^\'\n]*\'|"(?P<body>(?:\\[^\n]|[^"\\\n])*)(?P<end>"?)',
    re.DOTALL,
)
"""Comments and strings; of a double-quoted string on one line also its body."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_DRIVE = re.compile(r"(?:\w+:)?[A-Za-z]:[\\/]")


@dataclass(frozen=True)
class _Text:
    """A double-quoted string on one line: where it begins, the key that it is the value of, and its body."""

    start: int
    key: str
    body: str
    is_closed: bool


def find_fault(text: str) -> str:
    """Describe the first backslash of a TOML text that was hardly meant as an escape; "" without one."""
    for string in _strings(text):
        if escape := _odd_escape(string):
            meaning = MEANINGS.get(escape[1:])
            reading = f"means {meaning}" if meaning else "is read as an escape"
            line = text.count("\n", 0, string.start) + 1
            return f"line {line}: in double quotes {escape} {reading}. {_advice(string)}"
    return ""


def _strings(text: str) -> Iterator[_Text]:
    for match in _STRINGS.finditer(text):
        if "\\" in (match["body"] or ""):
            start = match.start()
            key = re.search(r"([\w-]+)[ \t]*=[ \t]*\Z", text[max(0, start - SHOWN) : start])
            yield _Text(start, key[1] if key else "", match["body"], bool(match["end"]))


def _odd_escape(string: _Text) -> str:
    """Return the first escape that was hardly meant as one, "" where there is none."""
    if string.is_closed and not _ESCAPE.sub("", string.body):  # such as a delimiter
        return ""
    has_drive = bool(_DRIVE.match(string.body))
    for match in _ESCAPE.finditer(string.body):
        kind = match[1]
        if kind == '"':
            is_odd = not string.is_closed  # it was to close the string
        elif len(kind) > 1:
            is_odd = has_drive
        else:
            is_odd = kind != "\\" and (has_drive or kind not in "nt" or string.key not in PROSE)
        if is_odd:
            return match[0]
    return ""


def _advice(string: _Text) -> str:
    """Say how to write the string instead."""
    written = string.body if string.is_closed else string.body.partition('\\"')[0] + "\\"
    server = re.match(
        r"(?:\w\w+:)?(?:\\\\)?", written
    )  # the first two backslashes of \\server\share are meant
    first = server[0] if server else ""
    plain = first + written[len(first) :].replace("\\\\", "\\")
    if len(plain) > SHOWN or "'" in plain or '"' in plain:
        return "Use single quotes, or write / instead of each backslash of a path."
    if string.key == "group":
        return f"Use single quotes: '{plain}'."
    with_slash = plain.replace("\\", "/")
    return f"Use single quotes, or / in a path: '{plain}' or \"{with_slash}\"."
