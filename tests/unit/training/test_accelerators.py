"""Precision, memory and devices: what is set, refused and said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.device_training import Listener
from tledge.config import Hardware, Stage
from tledge.errors import RunError
from tledge.progress import SILENT
from tledge.training import accelerators, batch_partition
from tledge.training.batch_partition import BatchPartition


def made_error(name: str, text: str) -> Exception:
    return type(name, (RuntimeError,), {})(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((3,), np.dtype("f4")), True),  # type: ignore[attr-defined]
        (made_error("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."), True),
        (made_error("JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory"), True),
        (made_error("AbortedError", "Status: 1, message: could not create a primitive, in file a.cc"), True),
        (made_error("AbortedError", "Status: 3, message: could not create a primitive, in file a.cc"), False),
        (made_error("XlaRuntimeError", "INVALID_ARGUMENT: shapes"), False),
        (made_error("InternalError", "CUDA_ERROR_OUT_OF_MEMORY"), True),
        (made_error("InternalError", "cuDNN"), False),
        (RuntimeError("RESOURCE_EXHAUSTED"), False),
        (RunError("the loss is not a number"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, wanted: bool) -> None:
    assert accelerators.is_out_of_memory(error) == wanted


def test_message_says_what_to_set() -> None:
    stage = Stage(name="top", batch_size=64)
    with pytest.raises(RunError) as caught:
        accelerators.halved(Hardware(), stage, BatchPartition(64), SILENT)
    assert str(caught.value) == (
        "stage top: the device ran out of memory at batch_size = 64. Set batch_size = 32, "
        '[hardware] precision = "bfloat16", or [hardware] halve_batch = true.'
    )
    with pytest.raises(RunError, match=r"batch_size = 32, or \[hardware\] halve_batch"):
        accelerators.halved(Hardware(precision="float16"), stage, BatchPartition(64), SILENT)


def test_halving_ends_at_one() -> None:
    listener, table, partition = Listener(), Hardware(halve_batch=True), BatchPartition(6)
    pieces = []
    while partition.images_per_step > 1:
        partition = replace(partition, accumulate=accelerators.halved(table, Stage(), partition, listener))
        pieces.append(partition.images_per_step)
    assert pieces == [3, 2, 1] and len(listener.lines) == 3
    with pytest.raises(RunError, match="smaller backbone"):
        accelerators.halved(table, Stage(), partition, listener)


def test_abort_names_what_to_set() -> None:
    said = accelerators.aborted(Stage(name="top"), batch_partition.BatchPartition(64))
    assert "stage top: native code aborted at batch_size = 64" in said and "batch_size = 32" in said


def test_abort_of_single_images_advises_no_smaller_batch() -> None:
    said = accelerators.aborted(Stage(name="top"), batch_partition.BatchPartition(1))
    assert "Set a smaller [model] image_size" in said
