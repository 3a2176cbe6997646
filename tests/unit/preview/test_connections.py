"""Which connection makes room for a new one: the oldest of whoever has most, none that is being served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tledge.preview.connections import Connections

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Connections, each with the end of its client."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(6)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
                end.settimeout(0.05)
        yield made


def closed(pair: Pair) -> bool:
    try:
        return pair[1].recv(1) == b""
    except TimeoutError:
        return False


def admitted(connections: Connections, pairs: list[Pair], addresses: str) -> list[tuple[bool, str]]:
    return [connections.admit(ours, name) for (ours, _theirs), name in zip(pairs, addresses, strict=False)]


def test_who_has_most_makes_room(pairs: list[Pair]) -> None:
    """However old the connections of others are."""
    made = admitted(Connections(4), pairs, "abbcdd")
    assert made == [(True, "")] * 4 + [(True, "b"), (True, "a")]
    assert [closed(pair) for pair in pairs] == [True, True, False, False, False, False]


def test_served_connections_stay(pairs: list[Pair]) -> None:
    connections = Connections(2)
    admitted(connections, pairs[:2], "aa")
    connections.serve(pairs[0][0])
    assert connections.admit(pairs[2][0], "a") == (True, "a")
    connections.serve(pairs[2][0])
    assert connections.admit(pairs[3][0], "a") == (False, "")
    assert [closed(pair) for pair in pairs[:4]] == [False, True, False, False]
    connections.wait_for_request(pairs[0][0])
    assert connections.admit(pairs[3][0], "a") == (True, "a") and closed(pairs[0])


def test_served_connection_counts_as_new_afterwards(pairs: list[Pair]) -> None:
    connections = Connections(2)
    admitted(connections, pairs[:2], "aa")
    connections.serve(pairs[0][0])
    connections.wait_for_request(pairs[0][0])
    connections.admit(pairs[2][0], "a")
    assert closed(pairs[1]) and not closed(pairs[0])


def test_ended_connections_need_no_room(pairs: list[Pair]) -> None:
    connections = Connections(1)
    admitted(connections, pairs[:1], "a")
    connections.remove(pairs[0][0])
    connections.remove(pairs[0][0])
    connections.serve(pairs[0][0])
    connections.wait_for_request(pairs[0][0])
    assert connections.admit(pairs[1][0], "a") == (True, "")
    pairs[1][0].close()
    assert connections.admit(pairs[2][0], "a") == (True, "a")
