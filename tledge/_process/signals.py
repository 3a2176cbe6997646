"""How a command ends that is asked to: by Ctrl-C, by a scheduler's SIGTERM, by a terminal that closes.

The signal raises KeyboardInterrupt in the main thread, so that everything is put away. Where that takes more
than `GRACE` seconds (native code does not listen), or somebody asks a second time, the process ends at
once: what stands under a final name is whole at any moment, and the next command removes the rest.
Exit codes are those of a shell: 128 and the signal's number.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

GRACE = 3.0
"""Seconds to put everything away in."""

ASKING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # fmt: skip
"""Signals that ask a command to end; Windows has no SIGHUP."""

SHOW_CURSOR = b"\x1b[?25h"
"""Progress bars hide it."""

asked: list[int] = []
"""Signals of these that came, in order."""

stderr: list[int] = []
"""The process' stderr as it was when this began to listen: `quiet` closes the other while a library loads."""


def start_again(words: list[str]) -> str:
    """What an interrupted command says that does the same work again."""
    return f"Interrupted. Start again with: {shell_command(words)}"


advice: list[Callable[[list[str]], str]] = [start_again]
"""The last one says how to go on with the command of these words; commands that know better add theirs."""


def shell_command(words: list[str]) -> str:
    """A command as a shell takes it."""
    return " ".join(map(quoted, ["tledge", *words]))


def quoted(word: str) -> str:
    """A word as a shell takes it.

    Letters that no terminal shows stand as bash, ksh and zsh read them: $'raw\\xff'.
    """
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
             for byte in os.fsencode(word))  # fmt: skip
    return f"$'{''.join(plain)}'"


def install_handlers(last_words: Callable[[], None]) -> None:
    """Let signals end this process as said above; `last_words` stand on the terminal where it ends at once.

    Signals that the process ignores or that somebody else handles stay as they are.
    """
    for number in ASKING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _raise)
    if sys.platform == "win32":  # only sockets wake it up
        return
    stderr.append(os.dup(2))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, last_words), daemon=True).start()
    sys.unraisablehook = _unless_asked(sys.unraisablehook)
    threading.excepthook = _unless_asked(threading.excepthook)


def restore_handlers() -> None:
    """The work is done: what comes while the process ends changes nothing."""
    for number in ASKING:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_IGN)


def exit_code() -> int:
    """What the process ends with after a signal."""
    return 128 + (asked[0] if asked else signal.SIGINT)


def _raise(number: int, _frame: FrameType | None) -> None:
    asked.append(number)
    raise KeyboardInterrupt


def _watch(signals: int, last_words: Callable[[], None]) -> None:
    """Wait for a signal, then for the process to end; end it where it does not, or where one more comes.

    The system's own handler writes a signal's number, so that this hears it whatever the main thread does.
    """
    while (number := os.read(signals, 1)[0]) not in ASKING or signal.getsignal(number) is not _raise:
        continue
    while select.select([signals], [], [], GRACE)[0]:
        if os.read(signals, 1)[0] in ASKING:
            break
    asked.append(number)
    if os.isatty(stderr[0]):
        os.write(stderr[0], SHOW_CURSOR)
    last_words()
    os._exit(128 + number)


def _unless_asked(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What breaks in some corner while the process ends is of no interest."""
    return lambda what: None if asked else hook(what)
