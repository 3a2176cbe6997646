"""Open one model and predict one image of zeros.

Run as `python -m tledge.runtime.sandbox_worker NAME KERNELS < FILE`.

The last line of the output is `{}`, or the failure as JSON. Native code that crashes ends only this process.
"""

from __future__ import annotations

import json
import sys

from tledge import errors
from tledge._process import limited_child
from tledge.errors import ArtifactError, TledgeError
from tledge.runtime import sessions
from tledge.runtime.model_file import ModelFile


def main(name: str, kernels: str) -> None:
    """Try the model on stdin and print the result."""
    limited_child.enter()
    content = sys.stdin.buffer.read()
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


if __name__ == "__main__":
    main(*sys.argv[1:])
