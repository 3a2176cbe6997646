"""Training in several processes: what the options must say."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.helpers.command_line import Cli
from tests.helpers.processes import HERE
from tledge import config
from tledge.errors import RecipeError
from tledge.training import multi_host
from tledge.training.multi_host import Hosts


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":80", "host:port", "host:0", "host:65536", "host:-1"]
)
def test_malformed_coordinator(address: str) -> None:
    with pytest.raises(RecipeError, match="expected HOST:PORT"):
        Hosts(address, 2, 0)


@pytest.mark.parametrize(("processes", "process"), [(2, 2), (2, -1), (0, 0), (-1, 0)])
def test_process_out_of_range(processes: int, process: int) -> None:
    with pytest.raises(RecipeError, match="expected --process from 0 to"):
        Hosts(HERE, processes, process)


@pytest.mark.parametrize(
    "options", [["--processes", 2], ["--coordinator", HERE, "--processes", 2], ["--process", 0]]
)
def test_options_go_together(options: list[Any], cli: Cli) -> None:
    done = cli("train", "quickstart", *options)
    assert done.code == 2 and "all three or none" in done.err


def test_one_process_is_alone() -> None:
    assert Hosts("", 1, 0) == multi_host.ALONE and multi_host.ALONE.writes


@pytest.fixture
def three_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_host, "devices", lambda: 3)


@pytest.mark.parametrize(("size", "near"), [(8, "6 or 9"), (2, "3"), (10, "9 or 12")])
def test_uneven_batch_is_refused(size: int, near: str, three_devices: None) -> None:
    stages = [config.Stage(name="a", batch_size=6), config.Stage(name="b", batch_size=size)]
    with pytest.raises(RecipeError, match=rf"stage\]\] b: batch_size = {size} .* Set batch_size to {near}\."):
        multi_host.require_batches(Hosts(HERE, 3, 0), stages)


@pytest.mark.parametrize(
    ("coordinator", "resolved", "listens"),
    [
        ("127.0.0.1:4000", ["127.0.0.1"], "127.0.0.1:4000"),
        ("[::1]:4000", ["::1"], "[::1]:4000"),
        ("localhost:4000", ["127.0.0.1"], "127.0.0.1:4000"),
        ("this-host:4000", ["127.0.0.1"], None),  # as systems resolve their own name
        ("this-host:4000", ["127.0.1.1", "127.0.0.1"], None),
        ("other-host:4000", ["192.0.2.77"], None),
        ("mapped:4000", ["192.0.2.77", "127.0.0.1"], None),
        ("nowhere:4000", [], None),
    ],
)
def test_coordinator_listens_where_asked(
    coordinator: str, resolved: list[str], listens: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(name: str, port: int, **_how: Any) -> list[Any]:
        if not resolved:
            raise socket.gaierror(-2, "Name or service not known")
        families = [socket.AF_INET6 if ":" in place else socket.AF_INET for place in resolved]
        return [(family, 1, 6, "", (place, port)) for family, place in zip(families, resolved, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    assert multi_host.listening_address(coordinator) == listens


def test_own_choice_of_jax_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "[::]:4000")
    assert multi_host.listening_address("127.0.0.1:4000") is None
