"""Run commands in a group with little memory, where the kernel kills one of them; `ulimit` only refuses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.support.observation import CannotRun

GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "cgroup.controllers"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.limit_in_bytes"),
)
"""Where groups with a limit of memory are made, the file of the limit, and a file that shows this version."""


@contextmanager
def limited(mib: int) -> Iterator[list[str]]:
    """Yield what to put before a command, so that it and all it starts have `mib` MiB together."""
    for top, limit, mark in GROUPS:
        folder = top / f"tledge-torture-{os.getpid()}"
        if not (top / mark).exists():
            continue
        try:
            folder.mkdir()
            (folder / limit).write_text(str(mib << 20))
        except OSError as error:
            raise CannotRun(f"no group with a limit of memory can be made ({error}): run as root") from error
        try:
            yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$0" "$@"']
        finally:
            _remove(folder)
        return
    raise CannotRun("the kernel has no groups with a limit of memory (cgroups)")


def _remove(folder: Path) -> None:
    """Remove a group, once the processes in it that were killed are gone."""
    until = time.monotonic() + 10
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
