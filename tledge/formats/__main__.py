"""One conversion in a process of its own: `python -m tledge.formats JOB.json RESULT.json`.

Converters leak memory, print from native code and may crash; the exporting process only reads
the result file. A failure that tledge can explain is written there too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tledge import runs
from tledge.errors import TledgeError
from tledge.formats import VARIANTS
from tledge.formats.base import Job


def main(job_path: str, result_path: str) -> int:
    """Do the job; 0 where the artifact was written."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    raw = json.loads(Path(job_path).read_text(encoding="utf-8"))
    variant = VARIANTS[raw.pop("variant")]
    job = Job(**{**raw, "labels": tuple(raw["labels"])})
    result: dict[str, Any] = {}
    try:
        result["details"] = variant.format.convert(job)
    except TledgeError as error:
        result["error"] = str(error)
        result["kind"] = type(error).__name__
    runs.write_json(Path(result_path), result)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
