"""Addresses of this machine that others may use."""

from __future__ import annotations

import pytest

from tledge.preview import addresses


def test_loopback_is_not_an_address_in_the_network() -> None:
    assert not [address for address in addresses.lan_addresses() if address.startswith("127.")]


def test_hosts_include_the_network_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "lan_addresses", lambda: ["192.0.2.7"])
    own = {"127.0.0.1:80", "localhost:80"}
    assert addresses.host_names(80, lan=False) == own
    assert addresses.host_names(80, lan=True) == own | {"192.0.2.7:80"}
