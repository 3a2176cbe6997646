"""Closing off stderr in several threads at once."""

import os

from tledge.quiet import native_stderr_closed


def place() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


def test_overlapping_blocks_give_stderr_back() -> None:
    """As of two threads: the first to begin ends first."""
    before, one, other = place(), native_stderr_closed(), native_stderr_closed()
    one.__enter__()
    closed = place()
    other.__enter__()
    one.__exit__(None, None, None)
    assert place() == closed != before
    other.__exit__(None, None, None)
    assert place() == before
