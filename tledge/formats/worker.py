"""Conversions in a process of their own: `python -m tledge.formats.worker`, which reads jobs from stdin.

Converters leak memory, print from native code and may crash; the exporting process only reads result
files. Each line is a JSON list: path of a job file, of its result file, of its log. The worker replies
with one line on stdout: `done` when the result is written, or as JSON why it could not be written. Jobs
of one process share TensorFlow, the loaded model and the frozen graph.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tledge._io import files, resource_errors
from tledge._process import no_network, subprocesses
from tledge.errors import TledgeError, error_to_json
from tledge.formats import reference_predictions
from tledge.formats.jobs import PredictionJob, WrittenArtifact, job_from_json
from tledge.formats.registry import VARIANTS

UNUSED = ("jax", "matplotlib")
"""Packages that TensorFlow and Keras import where they are installed, half a second each, for nothing."""


def main() -> None:
    """Do the jobs that stdin names, until stdin ends or the exporting process does."""
    subprocesses.end_with_parent()
    no_network.forbid_network()  # the model may be somebody else's
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        job, result, log = json.loads(line)
        with Path(log).open("ab") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        print(reply(Path(job), Path(result)), file=replies, flush=True)


def reply(job_path: Path, result_path: Path) -> str:
    """Do a job and write its result; return the line to reply with."""
    try:
        files.write_json(result_path, result_of(job_path))
    except TledgeError as error:
        return json.dumps(error_to_json(error))
    return "done"


def result_of(job_path: Path) -> dict[str, Any]:
    """Do a job; return its `WrittenArtifact` as JSON, or a failure that tledge can explain."""
    fields = json.loads(job_path.read_text(encoding="utf-8"))
    name = fields.pop("variant")
    job = job_from_json(fields)
    try:
        with resource_errors.resource_errors_explained():
            if isinstance(job, PredictionJob):
                reference_predictions.write(job)
                return asdict(WrittenArtifact("", {}))
            result = VARIANTS[name].format.convert(job)
    except TledgeError as error:
        return dict(error_to_json(error))
    return asdict(WrittenArtifact(result.mode, result.details()))


if __name__ == "__main__":
    main()
