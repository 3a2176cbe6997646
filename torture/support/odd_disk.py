"""Mount a disk that is not like others: letters without case, or errors of its medium."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torture.support import processes
from torture.support.observation import CannotRun
from torture.support.workspace import Workspace


@dataclass(frozen=True)
class OddDisk:
    """A mounted disk: where it is, the folder that it shows, and the file that says what fails."""

    path: Path
    below: Path
    faults: Path

    def fail(self, operation: str, after: int) -> None:
        """Let every operation of a kind fail with EIO, once `after` of them have worked."""
        self.faults.write_text(json.dumps({"operation": operation, "after": after}))

    def repair(self) -> None:
        """Let everything work again."""
        self.faults.unlink(missing_ok=True)


@contextmanager
def mounted(workspace: Workspace, folder: Path, *, ignore_case: bool = False) -> Iterator[OddDisk]:
    """Mount a disk in `folder` until the block ends; raise CannotRun where that is not allowed."""
    disk = OddDisk(folder / "disk", folder / "below", folder / "faults.json")
    disk.path.mkdir()
    disk.below.mkdir()
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise CannotRun("a disk of its own kind needs root and /dev/fuse")
    arguments = (disk.below, disk.path, disk.faults, int(ignore_case))
    command = [str(part) for part in processes.python_module("torture.workers.odd_disk", *arguments)]
    with subprocess.Popen(command, env=workspace.env, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            if serving.stdout.readline() != "mounted\n":
                raise CannotRun("a disk of its own kind could not be mounted through /dev/fuse")
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk.path)], check=False, capture_output=True)
            serving.kill()
