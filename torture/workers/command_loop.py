"""Run many tledge commands in one process: loading TensorFlow for each would take minutes.

    python -m torture.workers.command_loop COMMANDS RESULTS

COMMANDS is a JSON list of argument lists. RESULTS gets a line of JSON for each command as it ends, so
that those before a crash are known.
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


def _run_command(arguments: Sequence[str]) -> dict[str, object]:
    """Run one command as the command line would, and describe how it ended."""
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
    with Path(ends).open("a", encoding="utf-8") as results:
        for arguments in json.loads(Path(jobs).read_text(encoding="utf-8")):
            print(json.dumps(_run_command(arguments)), file=results, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
