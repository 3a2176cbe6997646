"""Forbid this process to open sockets, on Linux: what it opens cannot send anything away.

A seccomp filter lets `socket` fail with EPERM, for this process, its later threads and its children, for
good. Other systems, and Linux on other processors, have no such filter here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
"""Options of Linux' prctl, and the mode in which a filter decides on each system call."""

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
"""What a filter returns: go on, or fail with EPERM."""

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of the kernel's packet filter."""

_CALL, _ARCHITECTURE = 0, 4
"""Where a filter finds the number of the system call, and the processor that it is for."""

_SYSTEMS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""By processor: its name for the kernel, and the number of `socket`."""

_IO_URING_SETUP, _FOREIGN = 425, 0x40000000
"""Another way to sockets, and the first number of the calls of x86's 32-bit mode."""


def forbid_network() -> bool:
    """Forbid sockets for good; return whether this system can."""
    if sys.platform != "linux" or os.uname().machine not in _SYSTEMS:
        return False
    program = _program(*_SYSTEMS[os.uname().machine])
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    zero = ctypes.c_ulong(0)
    if prctl(_SET_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero):
        return False
    return not prctl(
        _SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_void_p(ctypes.addressof(header)), zero, zero
    )


def _program(architecture: int, socket: int) -> list[bytes]:
    """Return the filter: refuse other processors' calls, `socket` and `io_uring_setup`; allow the rest."""
    return [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_IF_EQUAL, architecture, 0, 4),
        _instruction(_LOAD, _CALL),
        _instruction(_IF_AT_LEAST, _FOREIGN, 2, 0),
        _instruction(_IF_EQUAL, socket, 1, 0),
        _instruction(_IF_EQUAL, _IO_URING_SETUP, 0, 1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction; jumps count the instructions that they skip."""
    return struct.pack("HBBI", code, if_true, if_false, value)
