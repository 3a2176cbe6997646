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
from collections.abc import Iterator, Sequence
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

HOLD_LOCK = """
import os, signal, sys
from pathlib import Path
from tledge.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).alone():
    print("held", flush=True)
    if sys.stdin.readline():
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Holds a folder's lock until stdin ends, or is killed with it after a line."""


def _stop_lock_owner(lock: Path, running: threading.Thread) -> int:
    """Stop the process that holds a lock as soon as it does, so that others meet a held lock."""
    while running.is_alive():
        with suppress(FileNotFoundError, ValueError):
            owner = int(json.loads(lock.read_text())["pid"])
            os.kill(owner, signal.SIGSTOP)
            return owner
        time.sleep(0.01)
    raise RuntimeError("the export ended before it had a lock")


def _refusal_faults(result: processes.ProcessResult, first: str) -> list[str]:
    """List what is wrong with how the second of two commands was refused."""
    owner = re.search(OWNER.format(host=re.escape(socket.gethostname()), command=first), result.err)
    if result.code == 1 and owner and "another command is writing into this folder" in result.err:
        return []
    return [f"not refused as it should be: {result.tail}"]


def _commands_during_export(workspace: Workspace) -> Observation:
    """Run commands during an export: those that write are refused, those that read work."""
    run = workspace.own_run("locks-export")
    photo = run / "golden" / "00.jpg"
    recipe = workspace.recipe(workspace.folder("locks-recipe"))
    first: list[processes.ProcessResult] = []
    working = threading.Thread(
        target=lambda: first.append(workspace.tledge("export", run, "--force", "--quiet"))
    )
    working.start()
    owner = _stop_lock_owner(run / ".lock", working)
    writing = [("verify", run), ("bundle", run), ("report", run), ("export", run), ("bench", run)]
    writing += [("train", recipe, "--out", run, "--force")]
    reading = [("predict", run / "bundle", photo), ("inspect", run), ("list", "runs")]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda arguments: workspace.tledge(*arguments), [*writing, *reading]))
    os.kill(owner, signal.SIGCONT)
    working.join()
    shortfalls = [
        f"{arguments[0]}: {fault}"
        for arguments, result in zip(writing, results, strict=False)
        for fault in _refusal_faults(result, f"tledge export {re.escape(str(run))}")
    ]
    shortfalls += [
        f"{arguments[0]} only reads: {result.tail}"
        for arguments, result in zip(reading, results[len(writing) :], strict=True)
        if result.code
    ]
    shortfalls += [f"export, not alone: {first[0].tail}"] * bool(first[0].code)
    shortfalls += file_checks.incomplete_files(run, set(file_checks.hashes(workspace.run).values()))
    return Observation(
        f"{len(writing)} commands refused, {len(reading)} that only read answered", tuple(shortfalls)
    )


@contextmanager
def _held_lock(
    workspace: Workspace, folder: Path, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    command = [*before, sys.executable, "-c", HOLD_LOCK, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=workspace.env, **pipes) as holding:  # type: ignore[call-overload]
        assert holding.stdout.readline() == "held\n"
        yield holding


def _stale_locks(workspace: Workspace) -> Observation:
    """Leave locks of owners that are gone, in every way: nobody has to remove anything."""
    from tledge._io import lockfile

    run = workspace.own_run("locks-stale")
    lock, me = run / ".lock", lockfile.current_owner()
    with _held_lock(workspace, run) as holding:
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
    for description, content in leftovers.items():
        lock.write_text(content)
        result = workspace.tledge("report", run)
        shortfalls += [f"{description}: {result.tail}"] * bool(result.code)
        shortfalls += [f"{description}: still there"] * lock.exists()
    return Observation(f"{len(leftovers)} leftovers taken over", tuple(shortfalls), kills=1)


def _lock_of_another_machine(workspace: Workspace) -> Observation:
    """Place the lock of another machine, on a shared disk: it holds until it is removed."""
    from tledge._io import lockfile

    run = workspace.own_run("locks-elsewhere")
    lock = run / ".lock"
    lock.write_text(
        json.dumps(asdict(replace(lockfile.current_owner(), host="server-7", boot="another", pid=4321)))
    )
    result = workspace.tledge("report", run)
    says = "process 4321 on server-7" in result.err and f"remove {lock}" in result.err
    shortfalls = [] if result.code == 1 and says else [f"not refused as it should be: {result.tail}"]
    lock.unlink(missing_ok=True)
    shortfalls += [
        f"after it was removed: {result.tail}" for result in [workspace.tledge("report", run)] if result.code
    ]
    return Observation("refused with the name of its file, and let in without it", tuple(shortfalls))


def _lock_behind_link(workspace: Workspace) -> Observation:
    """Put a symbolic link in the lock's place, to a file and to nothing: nothing is written through it."""
    run = workspace.own_run("locks-link")
    lock, target = run / ".lock", workspace.folder("locks-target") / "somebody.txt"
    shortfalls: list[str] = []
    for content in ("of somebody else\n", None):
        target.unlink(missing_ok=True)
        if content is not None:
            target.write_text(content)
        lock.symlink_to(target)
        result = workspace.tledge("report", run)
        says = "symbolic link" in result.err and f"rm {lock}" in result.err
        shortfalls += [f"not refused as it should be: {result.tail}"] * (result.code != 1 or not says)
        after = target.read_text() if target.exists() else None
        shortfalls += [f"written through the link: {after!r}"] * (after != content)
        lock.unlink(missing_ok=True)
    result = workspace.tledge("report", run)
    shortfalls += [f"after the link was removed: {result.tail}"] * bool(result.code)
    return Observation("2 links refused with what to remove, their targets as before", tuple(shortfalls))


def _two_users(workspace: Workspace) -> Observation:
    """Share a run folder between root and another user: each meets the lock of the other, held and left."""
    other = processes.other_user()
    run = workspace.own_run("locks-two-users")
    workspace.work.chmod(0o711)  # the other user has to reach the run
    for path in (run, *run.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    shortfalls: list[str] = []
    report = [*processes.TLEDGE, "report", run]
    for subject, owner, second in (("root's", (), other), ("another user's", other, [])):
        with _held_lock(workspace, run, owner) as holding:
            result = processes.run([*second, *report], workspace.env, run.parent)
            shortfalls += [f"{subject} lock: {fault}" for fault in _refusal_faults(result, "-c")]
            holding.communicate("die\n")
        shortfalls += [] if (run / ".lock").exists() else [f"{subject} kill left no lock"]
        result = processes.run([*second, *report], workspace.env, run.parent)
        shortfalls += [f"{subject} lock, left by a kill: {result.tail}"] * bool(result.code)
    return Observation(
        "2 held locks name their owner, 2 left ones are taken over", tuple(shortfalls), kills=2
    )


def _simultaneous_commands(workspace: Workspace) -> Observation:
    """Run many commands at once: each works or is refused, and no lock or leftover stays."""
    run = workspace.own_run("locks-at-once")
    rounds, command_count = workspace.count(10, 1), 6
    shortfalls: list[str] = []
    succeeded = refused = 0
    for _round in range(rounds):
        with ThreadPoolExecutor(command_count) as pool:
            results = list(pool.map(lambda _one: workspace.tledge("report", run), range(command_count)))
        succeeded += sum(not result.code for result in results)
        refused += sum(bool(result.code) for result in results)
        shortfalls += [
            f"{fault}"
            for result in results
            if result.code
            for fault in _refusal_faults(result, "tledge report")
        ]
        shortfalls += ["all were refused"] * all(result.code for result in results)
        shortfalls += [f"{name} is left" for name in file_checks.temporary_names(run)]
    shortfalls += file_checks.incomplete_files(run, set(file_checks.hashes(workspace.run).values()))
    shortfalls += ["nobody was refused"] * (not refused)
    return Observation(
        f"{rounds * command_count} commands: {succeeded} did their work, {refused} were refused",
        tuple(shortfalls),
    )


CASES = (
    Case(
        "an export goes on",
        "who would write is refused with the owner's name, who reads is not",
        _commands_during_export,
    ),
    Case("stale locks", "a lock whose owner is gone stops nobody", _stale_locks),
    Case("another machine", "its lock is refused, with what to remove", _lock_of_another_machine),
    Case("lock behind a link", "nothing is written through it", _lock_behind_link),
    Case("two users", "each is refused by the other's name, and takes over what it left", _two_users),
    Case("at once", "many commands at one moment leave whole files and no lock", _simultaneous_commands),
)
