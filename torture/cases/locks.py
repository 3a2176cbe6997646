"""Two commands that write into one folder: the second is refused, and what a dead one left is no obstacle."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from torture.support import file_checks, processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

OWNER = r"process (\d+) on {host} \({command}.*\), since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
"""What a refusal says of who is there."""

HOLD = """
import os, signal, sys
from pathlib import Path
from tledge.runs import RunFolder
with RunFolder(Path(sys.argv[1])).alone():
    print("held", flush=True)
    if sys.stdin.readline():
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Holds a folder's lock until stdin ends, or is killed with it after a line."""


def _stopped(lock: Path, running: threading.Thread) -> int:
    """Stop the process that holds a lock, as soon as it does, so that it is at work while others come."""
    while running.is_alive():
        with suppress(FileNotFoundError, ValueError):
            owner = int(json.loads(lock.read_text())["pid"])
            os.kill(owner, signal.SIGSTOP)
            return owner
        time.sleep(0.01)
    raise RuntimeError("the export ended before it had a lock")


def _refused(ended: processes.ProcessResult, first: str) -> list[str]:
    """What is wrong with how the second of two commands was refused."""
    owner = re.search(OWNER.format(host=re.escape(socket.gethostname()), command=first), ended.err)
    if ended.code == 1 and owner and "another command is writing into this folder" in ended.err:
        return []
    return [f"not refused as it should be: {ended.tail}"]


def _export_goes_on(workspace: Workspace) -> Observation:
    """While a real export is at work: everything that writes is refused, all that reads answers."""
    run = workspace.own_run("locks-export")
    photo = run / "golden" / "00.jpg"
    recipe = workspace.recipe(workspace.folder("locks-recipe"))
    first: list[processes.ProcessResult] = []
    working = threading.Thread(target=lambda: first.append(workspace.tledge("export", run, "--quiet")))
    working.start()
    owner = _stopped(run / ".lock", working)
    writing = [("verify", run), ("bundle", run), ("report", run), ("export", run), ("bench", run)]
    writing += [("train", recipe, "--out", run, "--force")]
    reading = [("predict", run / "bundle", photo), ("inspect", run), ("list", "runs")]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda words: workspace.tledge(*words), [*writing, *reading]))
    os.kill(owner, signal.SIGCONT)
    working.join()
    shortfalls = [
        f"{words[0]}: {what}"
        for words, one in zip(writing, ended, strict=False)
        for what in _refused(one, f"tledge export {re.escape(str(run))}")
    ]
    shortfalls += [
        f"{words[0]} only reads: {one.tail}"
        for words, one in zip(reading, ended[len(writing) :], strict=True)
        if one.code
    ]
    shortfalls += [f"export, not alone: {first[0].tail}"] * bool(first[0].code)
    shortfalls += file_checks.broken(run, set(file_checks.hashes(workspace.run).values()))
    return Observation(
        f"{len(writing)} commands refused, {len(reading)} that only read answered", tuple(shortfalls)
    )


@contextmanager
def _held(workspace: Workspace, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=workspace.env, **pipes) as holding:  # type: ignore[call-overload]
        assert holding.stdout.readline() == "held\n"
        yield holding


def _stale(workspace: Workspace) -> Observation:
    """Locks of owners that are gone, in every way: nobody has to remove anything."""
    from tledge import locks

    run = workspace.own_run("locks-stale")
    lock, me = run / ".lock", locks.here()
    with _held(workspace, run) as holding:
        text = lock.read_text()
        holding.communicate("die\n")
    leftovers = {
        "of a killed command": text,
        "whose number is in use again": json.dumps(asdict(replace(me, pid=1))),
        "of before a reboot": json.dumps(asdict(replace(me, pid=1, boot="another"))),
        "of a container of this machine": json.dumps(asdict(replace(me, pid=1, host="another"))),
        "empty": "",
        "torn": text[: len(text) // 2],
        "of no sense": '{"pid": [], "host": 3}',
    }
    shortfalls = [] if lock.exists() else ["the kill left no lock: nothing was shown"]
    for what, content in leftovers.items():
        lock.write_text(content)
        ended = workspace.tledge("report", run)
        shortfalls += [f"{what}: {ended.tail}"] * bool(ended.code)
        shortfalls += [f"{what}: still there"] * lock.exists()
    return Observation(f"{len(leftovers)} leftovers taken over", tuple(shortfalls), kills=1)


def _elsewhere(workspace: Workspace) -> Observation:
    """The lock of another machine, on a disk that both see: it stands until it is removed."""
    from tledge import locks

    run = workspace.own_run("locks-elsewhere")
    lock = run / ".lock"
    lock.write_text(json.dumps(asdict(replace(locks.here(), host="server-7", boot="another", pid=4321))))
    ended = workspace.tledge("report", run)
    says = "process 4321 on server-7" in ended.err and f"remove {lock}" in ended.err
    shortfalls = [] if ended.code == 1 and says else [f"not refused as it should be: {ended.tail}"]
    lock.unlink(missing_ok=True)
    shortfalls += [
        f"after it was removed: {one.tail}" for one in [workspace.tledge("report", run)] if one.code
    ]
    return Observation("refused with the name of its file, and let in without it", tuple(shortfalls))


def _at_once(workspace: Workspace) -> Observation:
    """Many at the same moment: each does its work or is refused, and no lock or leftover stays."""
    run = workspace.own_run("locks-at-once")
    rounds, many = workspace.count(10, 1), 6
    shortfalls: list[str] = []
    done = refused = 0
    for _round in range(rounds):
        with ThreadPoolExecutor(many) as pool:
            ended = list(pool.map(lambda _one: workspace.tledge("report", run), range(many)))
        done += sum(not one.code for one in ended)
        refused += sum(bool(one.code) for one in ended)
        shortfalls += [f"{what}" for one in ended if one.code for what in _refused(one, "tledge report")]
        shortfalls += ["all were refused"] * all(one.code for one in ended)
        shortfalls += [f"{name} is left" for name in file_checks.temporary(run)]
    shortfalls += file_checks.broken(run, set(file_checks.hashes(workspace.run).values()))
    shortfalls += ["nobody was refused"] * (not refused)
    return Observation(
        f"{rounds * many} commands: {done} did their work, {refused} were refused", tuple(shortfalls)
    )


CASES = (
    Case(
        "an export goes on",
        "who would write is refused with the owner's name, who reads is not",
        _export_goes_on,
    ),
    Case("stale locks", "a lock whose owner is gone stops nobody", _stale),
    Case("another machine", "its lock is refused, with what to remove", _elsewhere),
    Case("at once", "many commands at one moment leave whole files and no lock", _at_once),
)
