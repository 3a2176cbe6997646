"""Shares of a batch, by process."""

from __future__ import annotations

from tledge.training.batch_partition import BatchPartition

HERE = "127.0.0.1:1234"


def partitions(size: int) -> list[BatchPartition]:
    """How each of three processes with one device takes batches of `size`."""
    return [BatchPartition(size, 1, 3, 3, process) for process in range(3)]
