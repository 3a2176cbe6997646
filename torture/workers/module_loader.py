"""Build the layer of each of several SavedModels in one process, which costs TensorFlow's start only once.

`python -m torture.workers.module_loader LIST CANARY`: LIST is JSON, a list of objects with the address or
path `handle` and the `environment` to set. Prints a line of JSON for each: the exit code, the message (""
where it was built), and whether it ran, which is when the file CANARY appears.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from torture.inputs.hostile_saved_models import SIDE


def main() -> None:
    """Try all that the list names."""
    from tledge._process import optional_imports
    from tledge.models import saved_model_layer

    keras = optional_imports.load("keras", "hub")
    canary = Path(sys.argv[2])
    canary.unlink(missing_ok=True)
    for trial in json.loads(Path(sys.argv[1]).read_bytes()):
        os.environ.update(trial["environment"])
        try:
            saved_model_layer.build(trial["handle"], keras.Input((SIDE, SIDE, 3)))
            code, message = 0, ""
        except Exception as error:
            code, message = getattr(error, "exit_code", -1), str(error)
        for name in trial["environment"]:
            del os.environ[name]
        print(json.dumps((code, message, canary.exists())), flush=True)
        canary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
