"""Export and verify one run again and again in one process: python -m torture.workers.export_loop RUN ROUNDS.

Prints a line of JSON for every round: seconds so far, the process's own resident memory in
MiB, open files, threads, and the largest resident set of its children so far.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torture.support.processes import own_memory


@dataclass(frozen=True)
class Round:
    """What the process held after a round; `bytes` are of the run folder, `temporary` counts names."""

    seconds: float
    own: float
    files: int
    threads: int
    children: float
    bytes: int
    temporary: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--minutes", type=float, default=120.0, help="no new round after these [120]")
    args = parser.parse_args()
    began = time.monotonic()
    for _round in range(args.rounds):
        export_and_verify(args.run)
        seconds = time.monotonic() - began
        print(json.dumps(asdict(measure_process(args.run, seconds))), flush=True)
        if seconds > 60 * args.minutes:
            break
    return 0


def export_and_verify(run: Path) -> None:
    """Export int8 and verify all that the run has; raises ParityError where that fails."""
    import tledge

    tledge.export(run, ["tflite-int8"], force=True)
    tledge.verify(run)


def measure_process(run: Path, seconds: float) -> Round:
    """Read the process's figures as Linux reports them."""
    paths = list(run.rglob("*"))
    return Round(
        round(seconds, 1),
        own_memory("self"),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        sum(path.stat().st_size for path in paths if path.is_file()),
        sum(path.name.startswith(".") for path in paths),
    )


if __name__ == "__main__":
    sys.exit(main())
