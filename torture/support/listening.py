"""Tell on which addresses processes listen, from what the kernel says of them in /proc."""

from __future__ import annotations

import ipaddress
import os
import struct
from contextlib import suppress
from pathlib import Path

from torture.support import process_signals

LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def listening_addresses(mark: str) -> set[str]:
    """Return the addresses on which processes of a `process_signals.MARK` listen, as ADDRESS:PORT."""
    own = {socket for process in process_signals.marked_processes(mark) for socket in _sockets(process)}
    return {address for address, socket in _listening() if socket in own}


def _sockets(process: int) -> set[str]:
    """Return the numbers of a process' sockets."""
    found = set()
    for path in (Path("/proc") / str(process) / "fd").glob("*"):
        with suppress(OSError):  # it was closed meanwhile
            target = os.readlink(path)
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    return found


def _listening() -> list[tuple[str, str]]:
    """Return the address and the number of every listening socket of this machine."""
    rows = []
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        rows += table.read_text().splitlines()[1:] if table.exists() else []
    parts = [row.split() for row in rows]
    return [(_address(part[1]), part[9]) for part in parts if part[3] == LISTENS]


def _address(text: str) -> str:
    """Read an address of /proc/net/tcp, whose words stand in the order of this machine's bytes."""
    host, port = text.split(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    address = getattr(address, "ipv4_mapped", None) or address
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
