"""Folders that cannot be written, odd names, links, no home, other letters, wrong clocks, closed streams."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torture.cases.zones_and_letters import longest_names, names_beyond_the_locale, time_zones
from torture.support import processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

PHOTO = "golden/00.jpg"


def _observation(
    summary: str, shortfalls: Sequence[str], results: Sequence[processes.ProcessResult]
) -> Observation:
    return Observation(
        f"{len(results)} commands: {summary}",
        tuple(shortfalls),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _faults(subject: object, result: processes.ProcessResult, code: int, *words: str) -> list[str]:
    """List where a command did not end with `code`, or did not print `words`."""
    missing = [word for word in words if word not in result.err + result.out]
    return (
        [f"{subject}: {f'no {missing}: ' if missing else ''}{result.tail}"]
        if result.code != code or missing
        else []
    )


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only for everyone; afterwards its owner may write again."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


READ_ONLY = (
    (("predict", "RUN", f"RUN/{PHOTO}"), 0),
    (("predict", "RUN/bundle", f"RUN/{PHOTO}", "--json"), 0),
    (("verify", "RUN/bundle", "--quiet"), 0),
    (("inspect", "RUN"), 0),
    (("verify", "RUN", "--quiet"), 1),
    (("bundle", "RUN"), 1),
    (("report", "RUN"), 1),
    (("export", "RUN", "--force", "--quiet"), 1),
    (("compare", "RUN", "RUN", "--quiet"), 0),
    (("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"), 1),
    (("train", "tiny.toml", "--out", "RUN", "--force", "--quiet"), 1),
    (("data", "tiny.toml", "--out", "RUN/data", "--quiet"), 1),
)
"""Commands on a run that cannot be written, and how they end."""


def read_only_run(workspace: Workspace) -> Observation:
    """Run every command on a run folder that cannot be written: it works, or says so, and changes nothing."""
    run = workspace.own_run("read-only")
    workspace.recipe(run.parent)
    before, shortfalls, results = (
        temporary_disk.file_hashes(run),
        list[str](),
        list[processes.ProcessResult](),
    )
    with _read_only(run):
        for command, code in READ_ONLY[:6] if workspace.reduced else READ_ONLY:
            arguments = [part.replace("RUN", str(run)) for part in command]
            results.append(workspace.tledge(*arguments, cwd=run.parent, is_root=False))
            words = ("cannot be written (Permission denied)", "name another place") if code else ()
            shortfalls += _faults(command, results[-1], code, *words)
    shortfalls += [] if temporary_disk.file_hashes(run) == before else ["the run was changed"]
    return _observation("readers work, writers name the folder, nothing is changed", shortfalls, results)


def read_only_cache(workspace: Workspace) -> Observation:
    """Use a read-only cache that is full, and one that is empty: the second is named."""
    folder = workspace.folder("read-only-cache")
    recipe = workspace.recipe(folder)
    text = recipe.read_text(encoding="utf-8").replace("[data]\n", '[data]\ngroup = "near-duplicates"\n')
    recipe.write_text(text, encoding="utf-8")
    (folder / "empty").mkdir()
    full = shutil.copytree(_filled_cache(workspace), folder / "full")
    results, shortfalls = [], list[str]()
    before = temporary_disk.file_hashes(full)
    with _read_only(folder / "full"), _read_only(folder / "empty"):
        for name, code, words in (("full", 0, ()), ("empty", 1, ("Permission denied", "TLEDGE_CACHE"))):
            env = {"TLEDGE_CACHE": str(folder / name)}
            results.append(workspace.tledge("data", recipe, "--quiet", cwd=folder, env=env, is_root=False))
            shortfalls += _faults(f"{name} cache", results[-1], code, *words)
    shortfalls += [] if temporary_disk.file_hashes(full) == before else ["the cache was changed"]
    return _observation("a read-only cache serves, an empty one is named", shortfalls, results)


def _filled_cache(workspace: Workspace) -> Path:
    workspace.run  # noqa: B018  # fills it
    return workspace.work / "cache"


WITHOUT_PASSWD = """
import os, pwd, runpy, sys
def nobody(uid): raise KeyError(uid)
pwd.getpwuid = nobody
sys.argv[0] = "tledge"
runpy.run_module("tledge", run_name="__main__")
"""
"""An account that the system does not know, as in containers that run under any number."""


def no_home(workspace: Workspace) -> Observation:
    """Unset HOME, let it be missing or read-only, with an account that has an entry and one that has none."""
    folder = workspace.folder("home")
    recipe, photo = workspace.recipe(folder), workspace.run / PHOTO
    (folder / "home").mkdir()
    nameless = ["python", "-c", WITHOUT_PASSWD]
    results, shortfalls = [], list[str]()
    for subject, env, start, command, code, words in (
        (
            "missing",
            {"HOME": "/nonexistent/home"},
            processes.TLEDGE,
            ("predict", workspace.run, photo),
            0,
            (),
        ),
        (
            "read-only",
            {"HOME": str(folder / "home")},
            processes.TLEDGE,
            ("data", recipe),
            1,
            ("TLEDGE_CACHE",),
        ),
        ("no account", {}, nameless, ("predict", workspace.run, photo), 0, ()),
        ("no account", {}, nameless, ("data", recipe), 1, ("no home folder", "TLEDGE_CACHE")),
        ("no account", {"TLEDGE_CACHE": str(folder / "c")}, nameless, ("data", recipe, "--quiet"), 0, ()),
    ):
        lacking = ("HOME", "TLEDGE_CACHE", "XDG_CACHE_HOME", "KERAS_HOME")
        environment = {name: value for name, value in workspace.env.items() if name not in lacking} | env
        with _read_only(folder / "home"):
            full_command = [processes.TLEDGE[0], *start[1:], *command]
            results.append(processes.run(full_command, environment, folder, is_root=False))
        shortfalls += _faults(f"{subject}: {command[0]}", results[-1], code, *words)
    return _observation("each works or says what to set", shortfalls, results)


OUTPUT_ENVIRONMENTS: tuple[Mapping[str, str], ...] = (
    {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "tr_TR.UTF-8"},
    {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    {"TERM": "dumb", "COLUMNS": "1"},
    {"COLUMNS": "0", "LINES": "0"},
    {"LANG": "no_such.locale", "TZ": "Nowhere/City"},
)
"""Environments of output: few letters, other rules of letters, hardly a column."""


def locales(workspace: Workspace) -> Observation:
    """Print tables, errors and JSON in locales that lack their letters."""
    run = workspace.own_run("letters")
    odd = Path(shutil.copyfile(run / PHOTO, run / "é手\udcff.jpg"))
    commands = (
        ("verify", run / "bundle"), ("inspect", run), ("predict", run, odd, "--json"),
        ("predict", run, run / "é手"),
        ("compare", run, run, "--quiet"), ("list", "recipes"), ("verify", run, "--quiet"),
        ("list", "backbones"),
    )  # fmt: skip
    results, shortfalls = [], list[str]()
    for env in OUTPUT_ENVIRONMENTS[: workspace.count(len(OUTPUT_ENVIRONMENTS), 2)]:
        for command in commands[: workspace.count(len(commands), 3)]:
            results.append(workspace.tledge(*command, cwd=run, env=env))
            shortfalls += _faults(f"{env} {command[0]}", results[-1], int(command[-1] == run / "é手"))
            if command[-1] == "--json" and _names_another_file(results[-1].out, odd):
                shortfalls.append(f"{env}: another name in JSON: {results[-1].out[:80]!r}")
    return _observation("no letter stopped one", shortfalls, results)


def _names_another_file(text: str, path: Path) -> bool:
    """Check whether JSON names another file; a name may be bytes in one locale and letters in another."""
    return os.fsencode(json.loads(text)[0]["image"]) != os.fsencode(path)


ODD_NAMES = (
    "with space", "-dash", "it's \"quoted\" & $HOME `x`", "new\nline", "[bold]markup[/bold]", "n" * 255,
    "e\u0301te\u0301 NFD", "\u00e9t\u00e9 NFC", "raw\udcff\udcfe", "手" * 85, "a:b;c", "%s{0}",
    "trailing. ", ".hidden",
)  # fmt: skip
"""Names of folders, as a file system allows them; the longest has 255 bytes."""


def odd_names(workspace: Workspace) -> Observation:
    """Use runs and projects under odd names; the command that tledge names next must work."""
    folder = workspace.folder("names")
    results, shortfalls = [], list[str]()
    for name in ODD_NAMES[: workspace.count(len(ODD_NAMES), 2)]:
        run = Path(shutil.copytree(workspace.run, folder / name))
        path = run.relative_to(folder) if not name.startswith("-") else f"./{name}"
        bundled = workspace.tledge("bundle", path, cwd=folder)
        following = (
            bundled.out.rpartition("Next: tledge ")[2]
            .strip("\n")
            .replace("PHOTO.jpg", str(workspace.run / PHOTO))
        )
        rest = (
            workspace.tledge(*_shell_words(following), cwd=folder),
            workspace.tledge("predict", path, run / PHOTO, "--json", cwd=folder),
            workspace.tledge("verify", run / "bundle", "--quiet", "--json", cwd=folder),
            workspace.tledge("report", path, cwd=folder),
        )
        results += [bundled, *rest]
        shortfalls += [fault for result in (bundled, *rest) for fault in _faults(repr(name[:30]), result, 0)]
        shortfalls += [f"{name[:30]!r}: left {path}" for path in temporary_disk.temporary_names(run)]
    results.append(
        workspace.tledge("bundle", workspace.run, "--target", "web", "--out", "n" * 256, cwd=folder)
    )
    shortfalls += _faults("256 bytes", results[-1], 1, "File name too long")
    return _observation("under odd names; a longer one is refused", shortfalls, results)


def _shell_words(line: str) -> list[str]:
    """Split a line as a shell does."""
    completed = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in completed.stdout.split(b"\0")[:-1]]


def symbolic_links(workspace: Workspace) -> Observation:
    """Use runs, outputs and photos that are links: nothing is written through them."""
    folder = workspace.folder("links")
    run = workspace.own_run("links-run")
    other = Path(shutil.copytree(run, folder / "other"))
    for name, target in (("run", run), ("loop", "loop"), ("dangling", "nowhere"), ("photo.jpg", run / PHOTO)):
        (folder / name).symlink_to(target)
    shutil.rmtree(run / "bundle")
    (run / "bundle").symlink_to(other / "bundle")
    (run / "report.md").unlink()
    (run / "report.md").symlink_to(other / "report.md")
    before, results, shortfalls = temporary_disk.file_hashes(other), [], list[str]()
    for command, code, words in (
        (("predict", "run", "photo.jpg"), 1, ("bundle: is a symbolic link", "rm run/bundle")),
        (("bundle", "run"), 1, ("bundle: is a symbolic link", "rm run/bundle")),
        (("report", "run"), 1, ("is a symbolic link",)),
        (("predict", "other", "photo.jpg"), 0, ()),
        (("verify", "loop"), 2, ("no such run folder",)),
        (("predict", "other", "loop"), 1, ("could not be read",)),
        (("bundle", "other", "--target", "web", "--out", "dangling"), 1, ("exists already",)),
        (("report", "dangling"), 2, ("no such run folder",)),
        (("init", "loop/photos"), 2, ("no such folder",)),
    ):
        results.append(workspace.tledge(*command, cwd=folder))
        shortfalls += _faults(command, results[-1], code, *words)
    shortfalls += [] if temporary_disk.file_hashes(other) == before else ["what a link led to was changed"]
    for path in (run / "bundle", run / "report.md"):
        path.unlink()
    results += [workspace.tledge(command, "run", cwd=folder) for command in ("bundle", "report")]
    shortfalls += [f"a run behind a link: {result.tail}" for result in results[-2:] if result.code]
    return _observation("runs and photos may be links; links inside a run are refused", shortfalls, results)


def train_through_link(workspace: Workspace) -> Observation:
    """Train again with --force into a run that is a link: nothing old stays, nothing beside it changes."""
    folder = workspace.folder("forced")
    run = workspace.own_run("forced-run")
    (run.parent / "beside.txt").write_text("kept")
    (folder / "run").symlink_to(run)
    recipe = workspace.recipe(folder, train=120, epochs=1)
    result = workspace.tledge("train", recipe, "--out", folder / "run", "--force", "--quiet")
    shortfalls = _faults("train --force", result, 0)
    shortfalls += [
        f"{name} of the old run is left" for name in ("bundle", "parity.json") if (run / name).exists()
    ]
    shortfalls += (
        [] if (run.parent / "beside.txt").is_file() and (folder / "run").is_symlink() else ["link broken"]
    )
    return _observation("emptied behind the link", shortfalls, [result])


def changed_clock(workspace: Workspace) -> Observation:
    """Date files before 1970, in 1970 and in the future: they are read, verified and listed."""
    folder = workspace.folder("clock")
    run = Path(shutil.copytree(workspace.run, folder / "runs" / "tiny"))
    results, shortfalls = [], list[str]()
    for year, when in (("1960", -315_000_000), ("1970", 0), ("2200", 7_258_118_400)):
        for path in (run, *run.rglob("*")):
            os.utime(path, (when, when))
        for command in (("list", "runs"), ("verify", "--quiet"), ("bundle",), ("predict", run, run / PHOTO)):
            results.append(workspace.tledge(*command, cwd=folder))
            shortfalls += _faults(f"{year}: {command[0]}", results[-1], 0)
    zips = {path.read_bytes() for path in (*run.glob("*.zip"), *workspace.run.glob("*.zip"))}
    shortfalls += [] if len(zips) == 1 else ["the zip depends on the clock"]
    return _observation("1960, 1970 and 2200; the zip is the same", shortfalls, results)


def current_folder(workspace: Workspace) -> Observation:
    """Work in a folder that was removed, in one that is read-only, and with a relative cache path."""
    folder = workspace.folder("current")
    recipe = workspace.recipe(folder)
    (folder / "read-only").mkdir()
    gone = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" -m tledge "$@"'
    results, shortfalls = [], list[str]()
    for command, code, words in (
        (("predict", workspace.run, workspace.run / PHOTO), 0, ()),
        (("list", "runs"), 0, ()),
        (("data", recipe, "--quiet"), 1, ("current folder was removed",)),
        (("init", workspace.run / "golden"), 1, ()),
        (("verify",), 1, ("tledge train",)),
    ):
        results.append(
            processes.run(["sh", "-c", gone, processes.TLEDGE[0], *command], workspace.env, folder)
        )
        shortfalls += _faults(f"removed: {command[0]}", results[-1], code, *words)
    with _read_only(folder / "read-only"):
        results.append(workspace.tledge("data", recipe, "--quiet", cwd=folder / "read-only", is_root=False))
        shortfalls += _faults("read-only", results[-1], 1, "cannot be written")
    results.append(workspace.tledge("data", recipe, "--quiet", cwd=folder, env={"TLEDGE_CACHE": "own cache"}))
    shortfalls += _faults("relative cache", results[-1], 0)
    shortfalls += (
        [] if list((folder / "own cache").glob("*/index.json")) else ["the relative cache is not here"]
    )
    return _observation("each works or says so", shortfalls, results)


STREAMS = (">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "| head -c 1 >/dev/null")


def closed_streams(workspace: Workspace) -> Observation:
    """Close or fill stdin, stdout and stderr, or let the reader end early."""
    run = workspace.own_run("streams")
    before, results, shortfalls = temporary_disk.file_hashes(run), [], list[str]()
    for command in ("list recipes", f"predict {run} {run / PHOTO}", f"verify {run / 'bundle'}", "--help"):
        for stream in STREAMS:
            line = f"{shlex.join(processes.TLEDGE)} {command} {stream}"
            results.append(processes.run(["sh", "-c", line], workspace.env, run))
            wanted = (1,) if stream == ">/dev/full" else (0,)
            if results[-1].code not in wanted:
                shortfalls.append(f"{command.split()[0]} {stream}: {results[-1].tail}")
    shortfalls += [] if temporary_disk.file_hashes(run) == before else ["a file of the run was written into"]
    return _observation("closed, full and gone streams", shortfalls, results)


WORKS_OR_EXPLAINS = "works, or says what, where and what to do; nothing is changed or lost"

CASES: tuple[Case, ...] = (
    Case("read-only run folder", WORKS_OR_EXPLAINS, read_only_run),
    Case("read-only cache", WORKS_OR_EXPLAINS, read_only_cache),
    Case("no home folder", WORKS_OR_EXPLAINS, no_home),
    Case("locales and terminals", "output in any encoding and width, JSON that reads back", locales),
    Case("odd names", "every command works, also the one named next", odd_names),
    Case("names of 255 bytes", "of photos, labels, recipes, caches and runs: all work", longest_names),
    Case("symbolic links", "links do not break, nothing is written through them", symbolic_links),
    Case("--force through a link", "nothing of the old run stays", train_through_link, reduced=False),
    Case("clock set back and ahead", "reads and writes the same", changed_clock, reduced=False),
    Case("current folder gone or read-only, relative cache", WORKS_OR_EXPLAINS, current_folder),
    Case("time zones", "every zone, also one that does not exist; the zip is the same", time_zones),
    Case(
        "LC_ALL=C",
        "photos, labels and folders in other letters, from photos to a prediction",
        names_beyond_the_locale,
        reduced=False,
    ),
    Case("streams closed", "ends as it would, writes into no file", closed_streams, reduced=False),
)
