"""Conversions in a process of their own: `python -m tledge.formats.registry`, which reads jobs from stdin.

Converters leak memory, print from native code and may crash; the exporting process only reads
result files. A line names a job file, its result file and its log, as a JSON list; the answer to
each is one line on stdout, when the result is written, or as JSON why it could not be. Jobs of one
process share what they have in common: TensorFlow, the loaded model, the frozen graph.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tledge._io import files, resource_errors
from tledge._io.json_records import from_json
from tledge._process import subprocesses
from tledge.errors import TledgeError, told
from tledge.formats.base import ConversionJob
from tledge.formats.registry import VARIANTS

UNWANTED = ("jax", "matplotlib")
"""What TensorFlow and Keras import where it is there, and converting never uses: half a second each."""


def main() -> None:
    """Do the jobs that stdin names, until it ends or the exporting process does."""
    subprocesses.end_with_starter()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in UNWANTED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        job, result, log = json.loads(line)
        with Path(log).open("ab") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        print(answered(Path(job), Path(result)), file=answers, flush=True)


def answered(job: Path, result: Path) -> str:
    """Do a job and write its result; the line to answer with, where that failed the failure itself."""
    try:
        files.write_json(result, done(job))
    except TledgeError as error:
        return json.dumps(told(error))
    return "done"


def done(job_path: Path) -> dict[str, Any]:
    """Do one job; its details, or a failure that tledge can explain."""
    raw = json.loads(job_path.read_text(encoding="utf-8"))
    variant = VARIANTS[raw.pop("variant")]
    job = from_json(ConversionJob, raw)
    try:
        with resource_errors.resource_errors_explained():
            return {"details": variant.format.convert(job)}
    except TledgeError as error:
        return {**told(error)}


if __name__ == "__main__":
    main()
