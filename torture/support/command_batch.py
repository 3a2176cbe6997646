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
    """Run the commands; return how each ended, and for the one that broke the process how that ended.

    An error that nobody caught is in `err`, as a process of its own would have printed it. The peak
    is that of the whole process. Commands behind a crash have not run, and are not among the ends.
    """
    commands_file, results_file = folder / "jobs.json", folder / "ends.jsonl"
    commands_file.write_text(json.dumps([[str(part) for part in job] for job in jobs]), encoding="utf-8")
    results_file.write_bytes(b"")
    command = processes.python_module("torture.workers.command_loop", commands_file, results_file)
    batch = processes.run(command, workspace.env, folder, timeout=timeout)
    lines = results_file.read_text(encoding="utf-8").splitlines()
    results = [processes.ProcessResult(**json.loads(line), peak=batch.peak) for line in lines]
    return results if len(results) == len(jobs) else [*results, batch]
