"""A terminal of a given width for code of this process, and what it shows."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

CONTROL = re.compile(r"\x1b\[[0-9;?]*([a-zA-Z])")
"""A sequence that controls a terminal, by the letter of what it does."""


class Screen:
    """The text that a terminal got."""

    def __init__(self) -> None:
        self.raw = ""

    @property
    def lines(self) -> list[str]:
        """All lines that were on the screen at some time, without colours and without trailing spaces."""
        text = CONTROL.sub(lambda found: "" if found[1] in "mhl" else "\n", self.raw)
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]

    @property
    def text(self) -> str:
        """These lines as one text."""
        return "\n".join(self.lines)

    @property
    def has_colour(self) -> bool:
        """Whether a colour was set; bold and dim text are none."""
        return any(re.search(r"(?:^|;)(?:3[0-7]|38|9[0-7])(?:;|m)", code) for code in _styles(self.raw))


def _styles(text: str) -> list[str]:
    return re.findall(r"\x1b\[([0-9;]*m)", text)


@contextmanager
def terminal(columns: int) -> Iterator[Screen]:
    """Make stdin, stdout and stderr of this process, in a block, one terminal with so many columns."""
    import fcntl
    import termios

    screen = Screen()
    shown, inside = os.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    reader = Thread(target=_read, args=(shown, screen))
    reader.start()
    streams, copies = (sys.stdout, sys.stderr), [os.dup(number) for number in range(3)]
    sizes = {name: os.environ.pop(name) for name in ("COLUMNS", "LINES") if name in os.environ}
    try:
        for number in range(3):
            os.dup2(inside, number)
        sys.stdout, sys.stderr = (
            open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            for number in (1, 2)
        )
        yield screen
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.environ.update(sizes)
        sys.stdout, sys.stderr = streams
        for number, copy in enumerate(copies):
            os.dup2(copy, number)
            os.close(copy)
        os.close(inside)
        reader.join()
        os.close(shown)


def _read(shown: int, screen: Screen) -> None:
    """Read until nobody has the terminal open any more."""
    text = b""
    while True:
        try:
            part = os.read(shown, 65536)
        except OSError:  # Linux says so with an error
            break
        if not part:
            break
        text += part
    screen.raw = text.decode()
