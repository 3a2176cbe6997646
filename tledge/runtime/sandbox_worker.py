"""Open one model and predict one image of zeros.

Run as `python -m tledge.runtime.sandbox_worker NAME KERNELS < FILE`.

The last line of the output is `{}`, or the failure as JSON. Native code that crashes ends only this process.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

from tledge import errors
from tledge._process import subprocesses
from tledge.errors import ArtifactError, TledgeError
from tledge.runtime import sessions
from tledge.runtime.model_file import ModelFile

MEMORY = 2 << 30
"""Bytes of address space in addition to eight times the file's size; a classifier needs far less."""


def main(name: str, kernels: str) -> None:
    """Try the model on stdin and print the result."""
    subprocesses.end_with_parent()
    content = sys.stdin.buffer.read()
    limit_memory(MEMORY + 8 * len(content))
    failure: dict[str, str] = {}
    try:
        predict_zeros(ModelFile(name, content), kernels)
    except TledgeError as error:
        failure = errors.error_to_json(error)
    print(f"\n{json.dumps(failure)}", flush=True)


def predict_zeros(model: ModelFile, kernels: str) -> None:
    """Open the model in this process and predict one image of zeros.

    Raises ArtifactError where it does not load or does not return one row of probabilities.
    """
    import numpy as np

    session = sessions.open_session(model, kernels)
    height, width = session.image_size
    probabilities = session.run(np.zeros((1, height, width, 3), np.uint8))
    if probabilities.ndim != 2 or len(probabilities) != 1:
        raise ArtifactError(
            f"{model.name}: returns shape {list(probabilities.shape)} for one image, expected [1, classes]."
        )


def limit_memory(limit: int) -> None:
    """Limit this process' address space to `limit` bytes and write no core files; no effect on Windows."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
