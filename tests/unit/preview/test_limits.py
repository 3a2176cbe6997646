"""Limits of the preview server: the memory that requests share, and the deadline of a reader."""

from __future__ import annotations

import socket
import time

import pytest

from tledge.preview import limits
from tledge.preview.limits import DeadlineReader


def test_slow_sender_gains_no_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = DeadlineReader(ours)
        reader.deadline = time.monotonic() + 0.2
        theirs.sendall(b"a")
        assert reader.read(1) == b"a"
        with pytest.raises(TimeoutError):
            reader.read(1)


def test_body_gains_time_with_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIECE_SECONDS", 0.4)
    monkeypatch.setattr(limits, "PIECE_BYTES", 10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = DeadlineReader(ours)
        reader.begin_request(0.0)
        reader.begin_body()
        for _piece in range(4):
            time.sleep(0.15)
            theirs.sendall(b"0123456789")
            assert reader.read(10) == b"0123456789"
        time.sleep(0.15)
        theirs.sendall(b"012")
        assert reader.read(10) == b"012"
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            reader.read(10)
        assert time.monotonic() - began < 0.35
