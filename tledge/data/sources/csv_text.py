"""Read the rows of a CSV file as spreadsheets write it: encoding, delimiter, a line before the header."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from tledge.errors import DataError, RecipeError

COMMA = ","
"""The default delimiter; where it leaves the header in one piece, the `OTHERS` are tried."""

OTHERS = (";", "\t", "|")

ENCODINGS = (
    "utf-8",
    "utf-16",
    "cp1252",
    "cp1250",
    "cp1251",
    "latin-1",
    "shift_jis",
    "gbk",
    "big5",
    "mac_roman",
)
"""Encodings that a message may propose."""

_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""A first line by which Excel learns the delimiter."""

Row = tuple[int, list[str]]
"""The number of the line on which a row starts, and its cells without blanks around them."""


def check_delimiter(delimiter: str) -> None:
    """Raise RecipeError where a delimiter is not one character."""
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise RecipeError(f'[data] delimiter = {delimiter!r}: expected one character, such as "," or "\\t".')


def check_encoding(encoding: str) -> None:
    """Raise RecipeError where an encoding is unknown; "" stands for UTF-8 or UTF-16."""
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, ValueError) as error:
        near = difflib.get_close_matches(encoding.lower(), ENCODINGS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"[data] encoding: no encoding {encoding!r}.{hint} Known: {', '.join(ENCODINGS)} and others of "
            "Python."
        ) from error


def rows(table: Path, content: bytes, delimiter: str = COMMA, encoding: str = "") -> Iterator[Row]:
    """Yield each row of a CSV file, the header first.

    Raises:
        DataError: The content is not in the encoding, or not valid CSV.
    """
    text = decode(table, content, encoding)
    first_line = 1
    if separator := _SEPARATOR_LINE.match(text):
        delimiter = separator[1] if delimiter == COMMA else delimiter
        text, first_line = text[separator.end() :], 2
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, delimiter), strict=True)
    number = first_line
    try:
        for cells in reader:
            yield number, [cell.strip() for cell in cells]
            number = reader.line_num + first_line
    except csv.Error as error:
        raise DataError(
            f"{table}:{number}: not valid CSV ({error}). Check the quotes of this row."
        ) from error


def decode(table: Path, content: bytes, encoding: str = "") -> str:
    """Return the text of a CSV file; raises DataError where it is not in the encoding."""
    try:
        text = content.decode(encoding or recognized_encoding(content))
    except UnicodeDecodeError as error:
        advice = 'Save it as UTF-8, or name its encoding: [data] encoding = "cp1252" is usual on Windows.'
        if encoding:
            advice = "Choose another [data] encoding."
        name = encoding or "UTF-8"
        raise DataError(f"{table}: not {name} ({error}). {advice}") from error
    return text.removeprefix("\ufeff")


def recognized_encoding(content: bytes) -> str:
    """Recognize UTF-16 by its mark, or by zeros in every second byte; return "utf-8" for the rest."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = content[:1000]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros and zeros.count(0) > len(zeros) // 2:
            return encoding
    return "utf-8"


def _delimiter(text: str, delimiter: str) -> str:
    """Return the delimiter, or another one where the default leaves the header in one piece."""
    header = text.partition("\n")[0]
    if delimiter != COMMA or COMMA in header:
        return delimiter
    return next((other for other in OTHERS if other in header), delimiter)
