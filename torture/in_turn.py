"""Many tledge commands in one process, one after the other: loading TensorFlow for each would take minutes.

Started as `python torture/in_turn.py JOBS RESULTS`: a JSON list of argument lists, and a file that gets a
line of JSON for each command as it ends, so that those before a crash are known.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import child

if TYPE_CHECKING:
    from ground import Ground


def run(
    ground: Ground, folder: Path, jobs: Sequence[Sequence[object]], *, timeout: float = 300
) -> list[child.Ended]:
    """How each of these commands ended; in the end of the one that broke the process, that of it.

    An error that nobody caught is in `err`, as a process of its own would have printed it. The peak
    is that of the whole process. Commands behind a crash have not run, and are not among the ends.
    """
    asked, told = folder / "jobs.json", folder / "ends.jsonl"
    asked.write_text(json.dumps([[str(part) for part in job] for job in jobs]), encoding="utf-8")
    told.write_bytes(b"")
    command = [sys.executable, __file__, asked, told]
    whole = child.run(command, ground.env, folder, timeout=timeout)
    lines = told.read_text(encoding="utf-8").splitlines()
    ends = [child.Ended(**json.loads(line), peak=whole.peak) for line in lines]
    return ends if len(ends) == len(jobs) else [*ends, whole]


def _ended(arguments: Sequence[str]) -> dict[str, object]:
    """Run one command as the command line would, and say how it ended."""
    from tledge.cli.main import main

    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
            code = 1
    seconds = time.monotonic() - began
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "seconds": round(seconds, 3)}


def main(jobs: str, ends: str) -> None:
    """Run the commands in the file `jobs`, and write how they ended into `ends`."""
    with Path(ends).open("a", encoding="utf-8") as told:
        for arguments in json.loads(Path(jobs).read_text(encoding="utf-8")):
            print(json.dumps(_ended(arguments)), file=told, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
