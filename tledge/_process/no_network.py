"""Forbid this process to open sockets, on Linux: what it opens cannot send anything away.

A seccomp filter lets `socket` fail with EPERM, for this process, its later threads and its children, for
good. Other systems, and Linux on other processors, have no such filter here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_SET_NO_NEW_PRIVILEGES = 38
"""Option of Linux' prctl, without which a process may set no filter."""

_SET_FILTER, _FULL_SPEED = 1, 4
"""Operation of the system call seccomp, and its flag: without it some kernels slow the process down."""

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
"""What a filter returns: go on, or fail with EPERM."""

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of the kernel's packet filter."""

_CALL, _ARCHITECTURE = 0, 4
"""Where a filter finds the number of the system call, and the processor that it is for."""

_SYSTEMS = {"x86_64": (0xC000003E, 317, 41), "aarch64": (0xC00000B7, 277, 198)}
"""By processor: its name for the kernel, and the numbers of `seccomp` and `socket`."""

_IO_URING_SETUP, _FOREIGN = 425, 0x40000000
"""Another way to sockets, and the first number of the calls of x86's 32-bit mode."""


def forbid_network() -> bool:
    """Forbid sockets for good; return whether this system can."""
    if sys.platform != "linux" or os.uname().machine not in _SYSTEMS:
        return False
    architecture, seccomp, socket = _SYSTEMS[os.uname().machine]
    program = _program(architecture, socket)
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    library, zero = ctypes.CDLL(None), ctypes.c_ulong(0)
    if library.prctl(_SET_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero):
        return False
    place = ctypes.c_void_p(ctypes.addressof(header))
    call, operation = ctypes.c_long(seccomp), ctypes.c_ulong(_SET_FILTER)
    return any(
        library.syscall(call, operation, ctypes.c_ulong(flags), place) == 0 for flags in (_FULL_SPEED, 0)
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
