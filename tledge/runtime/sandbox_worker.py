"""One model opened, and one image of zeros answered.

Run as `python -m tledge.runtime.sandbox_worker NAME KERNELS < FILE`.

Prints `{}` as its last line, or the failure as JSON; native code that crashes ends this process alone.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

from tledge import errors
from tledge._process import subprocesses
from tledge.errors import ArtifactError, TledgeError
from tledge.runtime.sessions import LiteRTSession, OnnxSession

MEMORY = 2 << 30
"""Bytes of address space, beside eight times the file's size: far more than a classifier takes."""


def main(name: str, kernels: str) -> None:
    """Try the model on stdin and say how it went."""
    subprocesses.end_with_starter()
    model = sys.stdin.buffer.read()
    _limit(MEMORY + 8 * len(model))
    told: dict[str, str] = {}
    try:
        _try(model, name, kernels)
    except TledgeError as error:
        told = errors.error_to_json(error)
    print(f"\n{json.dumps(told)}", flush=True)


def _try(model: bytes, name: str, kernels: str) -> None:
    import numpy as np

    session: LiteRTSession | OnnxSession
    session = OnnxSession(model, name) if name.endswith(".onnx") else LiteRTSession(model, name, kernels)
    height, width = session.image_size
    found = session.run(np.zeros((1, height, width, 3), np.uint8))
    if found.ndim != 2 or len(found) != 1:
        raise ArtifactError(
            f"{name}: gives values {list(found.shape)} for an image, expected one for each label."
        )


def _limit(memory: int) -> None:
    """Limit this process' address space, and leave no core files; Windows cannot."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
