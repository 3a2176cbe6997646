"""Disks that are not like others: names without upper and lower case, and a medium that fails."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from torture.support import odd_disk, processes, temporary_disk
from torture.support.case import Case
from torture.support.command_checks import observe
from torture.support.observation import Observation
from torture.support.workspace import Workspace

PHOTO = "golden/00.jpg"


KEEP_TWICE = """
import sys
from pathlib import Path
from tledge.errors import ResourceError
from tledge.preview import feedback
folder, data = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
feedback.keep(folder, "Cat", ("Cat", "cat"), data)
try:
    feedback.keep(folder, "cat", ("Cat", "cat"), data)
except ResourceError as error:
    print(error)
    sys.exit(7)
"""
"""Keeps a photo for two labels whose names differ in case alone, as the preview does."""


def names_without_case(workspace: Workspace) -> Observation:
    """Use a disk on which `Tiny` and `tiny` are one folder, as those of macOS and Windows."""
    folder = workspace.folder("without-case")
    results, shortfalls = [], list[str]()
    with odd_disk.mounted(workspace, folder, ignore_case=True) as disk:
        recipe = workspace.recipe(disk.path, train=120, epochs=1)
        run = Path(shutil.copytree(workspace.run, disk.path / "runs" / "Tiny"))
        other = disk.path / "RUNS" / "tiny"
        before = temporary_disk.file_hashes(run)
        for command, code, words in (
            (("bundle", other), 0, ()),
            (("verify", run / "BUNDLE", "--quiet"), 0, ()),
            (("predict", other, run / PHOTO), 0, ()),
            (("train", recipe, "--out", other, "--quiet"), 1, ("holds a finished run",)),
            (("bundle", run, "--target", "web", "--out", disk.path / "Web"), 0, ()),
            (("bundle", run, "--target", "web", "--out", disk.path / "wEB"), 1, ("exists already",)),
            (("data", recipe, "--pack", disk.path / "Packed.zip", "--quiet"), 0, ()),
            (("data", recipe, "--pack", disk.path / "packed.ZIP", "--quiet"), 0, ()),
            (("export", other, "--quiet"), 0, ()),
            (("train", recipe, "--out", other, "--force", "--quiet"), 0, ()),
        )[: workspace.count(10, 6)]:
            results.append(workspace.tledge(*command, cwd=folder, env={"TLEDGE_CACHE": str(disk.path / "C")}))
            shortfalls += _faults(f"{command[0]} {Path(str(command[-1])).name}", results[-1], code, words)
            if code and temporary_disk.file_hashes(run) != before:
                shortfalls.append(f"{command[0]}: changed what it refused to write into")
            before = temporary_disk.file_hashes(run)
        shortfalls += [f"left {name}" for name in temporary_disk.temporary_names(disk.below)]
        kept = [sys.executable, "-c", KEEP_TWICE, disk.path / "feedback", run / PHOTO]
        results.append(processes.run(kept, workspace.env, folder))
        shortfalls += _faults("feedback for Cat and cat", results[-1], 7, ("folder 'Cat' of another",))
    return observe(results, f"{len(results)} commands under names in other letters", shortfalls)


def _faults(
    subject: str, result: processes.ProcessResult, code: int, words: tuple[str, ...] = ()
) -> list[str]:
    missing = [word for word in words if word not in result.err + result.out]
    return [f"{subject}: no {missing}: {result.tail}"] * bool(result.code != code or missing)


FAILING = (
    ("data", ("data", "RECIPE", "--quiet"), ("read", "write", "create", "rename", "fsync", "readdir")),
    ("bundle", ("bundle", "RUN"), ("write", "open", "read", "fsync", "create")),
    ("verify", ("verify", "RUN/bundle", "--quiet"), ("open", "read", "readdir")),
    ("report", ("report", "RUN"), ("open", "write")),
    ("verify", ("verify", "RUN", "--quiet"), ("mkdir", "write", "rename")),
    ("export", ("export", "RUN", "--force", "--quiet"), ("fsync", "create", "write", "read", "open")),
    ("train", ("train", "RECIPE", "--out", "NEW", "--force", "--quiet"), ("write", "read", "fsync")),
)
"""Commands, and operations of the disk that fail meanwhile, from one that is drawn by chance on."""

SAYS_SO = (
    "reports an error (Input/output error)",
    "the disk is full, or fails",  # numpy does not say why
    "Input/output error",
    "mapped into memory could not be read",
)


def failing_disk(workspace: Workspace) -> Observation:
    """Let a disk fail with EIO from some operation on, in every kind of operation; then repair it."""
    folder = workspace.folder("failing")
    rng = workspace.rng("failing disk")
    results, shortfalls, failed = [], list[str](), 0
    with odd_disk.mounted(workspace, folder) as disk:
        run = Path(shutil.copytree(workspace.run, disk.path / "tiny"))
        recipe = workspace.recipe(folder, train=120, epochs=1)
        (disk.path / "tmp").mkdir()
        env = {"TLEDGE_CACHE": str(disk.path / "cache"), "TMPDIR": str(disk.path / "tmp")}
        for name, template, operations in FAILING[: workspace.count(len(FAILING), 3)]:
            places = {"RUN": str(run), "RECIPE": str(recipe), "NEW": str(disk.path / "new")}
            command = [_replaced(part, places) for part in template]
            before = temporary_disk.file_hashes(run)
            for operation in operations[: workspace.count(len(operations), 2)]:
                shutil.rmtree(disk.path / "cache", ignore_errors=True)
                disk.fail(operation, rng.choice((0, 1, 2, 5, 10, 20)))
                results.append(workspace.tledge(*command, cwd=folder, env=env, timeout=120))
                disk.repair()
                failed += bool(results[-1].code)
                shortfalls += _failing_faults(f"{name}, {operation}", results[-1])
            after = workspace.tledge(*command, cwd=folder, env=env)
            shortfalls += _faults(f"{name} on the repaired disk", after, 0)
            shortfalls += temporary_disk.lost_files(before, run, temporary_disk.file_hashes(run))
            shortfalls += [f"{name} left {path}" for path in temporary_disk.temporary_names(run)]
    summary = f"{failed} of {len(results)} commands met an error of the disk and said so; then all finished"
    return observe(results, summary, shortfalls)


def _replaced(part: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        part = part.replace(name, place)
    return part


def _failing_faults(subject: str, result: processes.ProcessResult) -> list[str]:
    """List what falls short of words about the disk, or of an end as if nothing were."""
    if result.code not in (0, 1, 2, 4):
        return [f"{subject}: {result.tail}"]
    says = any(words in result.err for words in SAYS_SO)
    return [f"{subject}: does not name the disk: {result.tail}"] * bool(result.code and not says)


CASES: tuple[Case, ...] = (
    Case("names without case", "one folder under both names: nothing is lost or mixed", names_without_case),
    Case(
        "a disk that fails (EIO)",
        "each command says so, no crash, what was there is whole, and it finishes once repaired",
        failing_disk,
    ),
)
