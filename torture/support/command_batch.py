"""Run many tledge commands in one process of their own, and tell how each ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torture.support import processes
from torture.support.workspace import Workspace


def run(
    workspace: Workspace, folder: Path, jobs: Sequence[Sequence[object]], *, timeout: float = 300
) -> list[processes.ProcessResult]:
    """How each of these commands ended; in the end of the one that broke the process, that of it.

    An error that nobody caught is in `err`, as a process of its own would have printed it. The peak
    is that of the whole process. Commands behind a crash have not run, and are not among the ends.
    """
    asked, told = folder / "jobs.json", folder / "ends.jsonl"
    asked.write_text(json.dumps([[str(part) for part in job] for job in jobs]), encoding="utf-8")
    told.write_bytes(b"")
    command = processes.python_module("torture.workers.command_loop", asked, told)
    whole = processes.run(command, workspace.env, folder, timeout=timeout)
    lines = told.read_text(encoding="utf-8").splitlines()
    ends = [processes.ProcessResult(**json.loads(line), peak=whole.peak) for line in lines]
    return ends if len(ends) == len(jobs) else [*ends, whole]
