"""Predict with a run's Keras model in a process of its own: `python -m tledge.models.keras_worker FILE`.

The file may be somebody else's, so the process that asks for predictions never opens it. The worker prints
one line of JSON when it has opened the model, or why it has not. Then each request on stdin is a line, the
shape of the images, followed by their bytes; each reply is a line of JSON, with the probabilities or the
failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from tledge._process import limited_child
from tledge.errors import RunError, TledgeError, error_to_json
from tledge.models import classifier


def main(path: str) -> None:
    """Open the model and answer requests until stdin ends, or the process that started this one."""
    limited_child.enter()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no reply
    try:
        network = classifier.load(Path(path))
        _warm_up(network)
    except TledgeError as error:
        print(json.dumps(error_to_json(error)), file=replies, flush=True)
        return
    print("{}", file=replies, flush=True)
    while line := sys.stdin.buffer.readline():
        print(_reply(network, json.loads(line), sys.stdin.buffer), file=replies, flush=True)


def _warm_up(network: object) -> None:
    """Predict a blank image: the first prediction compiles the network, which is not part of its latency.

    A failure is left to the first request, whose reply explains it.
    """
    import numpy as np

    with contextlib.suppress(Exception):
        network.predict_on_batch(np.zeros((1, *network.input_shape[1:]), np.float32))  # type: ignore[attr-defined]


def _reply(network: object, shape: list[int], stream: BinaryIO) -> str:
    """Predict the images that follow on `stream`; return the line to reply with."""
    import numpy as np

    images = np.frombuffer(stream.read(int(np.prod(shape))), np.uint8).reshape(shape)
    try:
        outputs = np.asarray(network.predict_on_batch(images.astype(np.float32)), np.float32)  # type: ignore[attr-defined]
    except Exception as error:  # a network of another shape, or memory that is too small
        reason = " ".join(str(error).split())[:300]
        return json.dumps(
            error_to_json(RunError(f"the Keras model does not predict ({reason}). Train again."))
        )
    return json.dumps({"probabilities": outputs.tolist()})


if __name__ == "__main__":
    main(sys.argv[1])
