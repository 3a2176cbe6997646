"""End a command properly on Ctrl-C, a scheduler's SIGTERM or a closed terminal.

The signal raises KeyboardInterrupt in the main thread, so that everything is cleaned up. Where that takes
more than `GRACE` seconds (native code does not react), or a second signal comes, the process ends at once:
every file under a final name is complete at any moment, and the next command removes the rest.
Exit codes are those of a shell: 128 plus the signal's number.
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
"""Seconds that the cleanup may take."""

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # fmt: skip
"""Signals on which a command ends; Windows has no SIGHUP."""

SHOW_CURSOR = b"\x1b[?25h"
"""Progress bars hide it."""

received: list[int] = []
"""Those of these signals that came, in order."""

stderr: list[int] = []
"""A copy of the process' stderr: `native_output` closes the original while a library loads."""


def restart_advice(arguments: list[str]) -> str:
    """Return the message of an interrupted command that starts from the beginning again."""
    return f"Interrupted. Start again with: {shell_command(arguments)}"


advice: list[Callable[[list[str]], str]] = [restart_advice]
"""The last one says how to continue the command with these arguments; commands that can resume add theirs."""


def shell_command(arguments: list[str]) -> str:
    """Return a tledge command as one types it in a shell."""
    return " ".join(map(quoted, ["tledge", *arguments]))


def quoted(word: str) -> str:
    """Quote a word for a shell.

    Characters that no terminal shows are written as bash, ksh and zsh read them: $'raw\\xff'.
    """
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
             for byte in os.fsencode(word))  # fmt: skip
    return f"$'{''.join(plain)}'"


def install_handlers(print_advice: Callable[[], None]) -> None:
    """Let signals end this process as described above; `print_advice` is called where it ends at once.

    Signals that the process ignores, or for which other code has a handler, stay as they are.
    """
    for number in END_SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _raise)
    if sys.platform == "win32":  # only sockets wake it
        return
    stderr.append(os.dup(2))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=(reading, print_advice), daemon=True).start()
    sys.unraisablehook = _unless_interrupted(sys.unraisablehook)
    threading.excepthook = _unless_interrupted(threading.excepthook)


def restore_handlers() -> None:
    """Ignore signals from now on: the work is done and the process is about to end."""
    for number in END_SIGNALS:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_IGN)


def exit_code() -> int:
    """Return the exit code after a signal."""
    return 128 + (received[0] if received else signal.SIGINT)


def _raise(number: int, _frame: FrameType | None) -> None:
    received.append(number)
    raise KeyboardInterrupt


def _end_in_time(signals: int, print_advice: Callable[[], None]) -> None:
    """Wait for a signal, then for the process to end; end it if it takes too long or a second signal comes.

    The system's own handler writes the signal's number, so this thread sees it whatever the main thread does.
    """
    while (number := os.read(signals, 1)[0]) not in END_SIGNALS or signal.getsignal(number) is not _raise:
        continue
    while select.select([signals], [], [], GRACE)[0]:
        if os.read(signals, 1)[0] in END_SIGNALS:
            break
    received.append(number)
    if os.isatty(stderr[0]):
        os.write(stderr[0], SHOW_CURSOR)
    print_advice()
    os._exit(128 + number)


def _unless_interrupted(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap an exception hook: exceptions while an interrupted process ends are not shown."""
    return lambda error: None if received else hook(error)
