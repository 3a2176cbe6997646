"""Find the network addresses under which this machine can be reached."""

from __future__ import annotations

import socket

UNUSED_ADDRESS = "192.0.2.1"
"""An address that belongs to nobody (RFC 5737)."""


def lan_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine that its local network may reach; sends nothing."""
    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((UNUSED_ADDRESS, 9))  # a datagram socket only chooses a route
            addresses.append(str(probe.getsockname()[0]))
        except OSError:
            pass
    return [address for address in addresses if not address.startswith("127.")]


def host_names(port: int, *, lan: bool) -> frozenset[str]:
    """Return the `Host` values of this machine: its loopback names and, with `lan`, its addresses."""
    names = {"127.0.0.1", "localhost"} | (set(lan_addresses()) if lan else set())
    return frozenset(f"{name}:{port}" for name in names)
