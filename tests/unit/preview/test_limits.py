"""Limits of the preview server: the memory that requests share, and the deadline of a reader."""

from __future__ import annotations

import socket
import time

import pytest

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
