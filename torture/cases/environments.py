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

from torture.support import processes, temporary_disk
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

PHOTO = "golden/00.jpg"


def _seen(said: str, shortfalls: Sequence[str], ends: Sequence[processes.ProcessResult]) -> Observation:
    return Observation(
        f"{len(ends)} commands: {said}",
        tuple(shortfalls),
        crashes=sum(one.crashed for one in ends),
        hangs=sum(one.hung for one in ends),
        peak=max(one.peak for one in ends),
    )


def _wrong(what: object, ended: processes.ProcessResult, code: int, *words: str) -> list[str]:
    """Where a command did not end with `code`, or did not say `words`."""
    missing = [word for word in words if word not in ended.err + ended.out]
    return (
        [f"{what}: {f'no {missing}: ' if missing else ''}{ended.tail}"]
        if ended.code != code or missing
        else []
    )


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Nobody may write in a folder; afterwards its owner may again."""
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
    (("export", "RUN", "--quiet"), 1),
    (("compare", "RUN", "RUN", "--quiet"), 0),
    (("bench", "RUN", "--variant", "tflite-fp32", "--threads", "1", "--quiet"), 1),
    (("train", "tiny.toml", "--out", "RUN", "--force", "--quiet"), 1),
    (("data", "tiny.toml", "--out", "RUN/data", "--quiet"), 1),
)
"""Commands on a run that cannot be written, and how they end."""


def read_only_run(workspace: Workspace) -> Observation:
    """Every command on a run folder that cannot be written: it works, or says so, and changes nothing."""
    run = workspace.own_run("read-only")
    workspace.recipe(run.parent)
    before, shortfalls, ends = temporary_disk.files(run), list[str](), list[processes.ProcessResult]()
    with _read_only(run):
        for command, code in READ_ONLY[:6] if workspace.reduced else READ_ONLY:
            arguments = [part.replace("RUN", str(run)) for part in command]
            ends.append(workspace.tledge(*arguments, cwd=run.parent, is_root=False))
            words = ("cannot be written (Permission denied)", "name another place") if code else ()
            shortfalls += _wrong(command, ends[-1], code, *words)
    shortfalls += [] if temporary_disk.files(run) == before else ["the run was changed"]
    return _seen("readers work, writers name the folder, nothing is changed", shortfalls, ends)


def read_only_cache(workspace: Workspace) -> Observation:
    """A cache that is shared read-only serves, and one that is empty is named."""
    folder = workspace.folder("read-only-cache")
    recipe = workspace.recipe(folder)
    text = recipe.read_text(encoding="utf-8").replace("[data]\n", '[data]\ngroup = "near-duplicates"\n')
    recipe.write_text(text, encoding="utf-8")
    (folder / "empty").mkdir()
    full = shutil.copytree(_cache(workspace), folder / "full")
    ends, shortfalls = [], list[str]()
    before = temporary_disk.files(full)
    with _read_only(folder / "full"), _read_only(folder / "empty"):
        for name, code, words in (("full", 0, ()), ("empty", 1, ("Permission denied", "TLEDGE_CACHE"))):
            env = {"TLEDGE_CACHE": str(folder / name)}
            ends.append(workspace.tledge("data", recipe, "--quiet", cwd=folder, env=env, is_root=False))
            shortfalls += _wrong(f"{name} cache", ends[-1], code, *words)
    shortfalls += [] if temporary_disk.files(full) == before else ["the cache was changed"]
    return _seen("a read-only cache serves, an empty one is named", shortfalls, ends)


def _cache(workspace: Workspace) -> Path:
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
    """HOME unset, missing and read-only, with an account that has an entry and one that has none."""
    folder = workspace.folder("home")
    recipe, photo = workspace.recipe(folder), workspace.run / PHOTO
    (folder / "home").mkdir()
    nameless = ["python", "-c", WITHOUT_PASSWD]
    ends, shortfalls = [], list[str]()
    for what, env, start, command, code, words in (
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
        found = {name: value for name, value in workspace.env.items() if name not in lacking} | env
        with _read_only(folder / "home"):
            whole = [processes.TLEDGE[0], *start[1:], *command]
            ends.append(processes.run(whole, found, folder, is_root=False))
        shortfalls += _wrong(f"{what}: {command[0]}", ends[-1], code, *words)
    return _seen("each works or says what to set", shortfalls, ends)


LETTERS: tuple[Mapping[str, str], ...] = (
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


def letters(workspace: Workspace) -> Observation:
    """Tables, errors and JSON in locales that lack their letters."""
    run = workspace.own_run("letters")
    odd = Path(shutil.copyfile(run / PHOTO, run / "é手\udcff.jpg"))
    commands = (
        ("verify", run / "bundle"), ("inspect", run), ("predict", run, odd, "--json"),
        ("predict", run, run / "é手"),
        ("compare", run, run, "--quiet"), ("list", "recipes"), ("verify", run, "--quiet"),
        ("list", "backbones"),
    )  # fmt: skip
    ends, shortfalls = [], list[str]()
    for env in LETTERS[: workspace.count(len(LETTERS), 2)]:
        for command in commands[: workspace.count(len(commands), 3)]:
            ends.append(workspace.tledge(*command, cwd=run, env=env))
            shortfalls += _wrong(f"{env} {command[0]}", ends[-1], int(command[-1] == run / "é手"))
            if command[-1] == "--json" and _other(ends[-1].out, odd):
                shortfalls.append(f"{env}: another name in JSON: {ends[-1].out[:80]!r}")
    return _seen("no letter stopped one", shortfalls, ends)


def _other(text: str, path: Path) -> bool:
    """Whether JSON names another file; letters of a name may be bytes in one locale, and one in another."""
    return os.fsencode(json.loads(text)[0]["image"]) != os.fsencode(path)


NAMES = (
    "with space", "-dash", "it's \"quoted\" & $HOME `x`", "new\nline", "[bold]markup[/bold]", "n" * 255,
    "e\u0301te\u0301 NFD", "\u00e9t\u00e9 NFC", "raw\udcff\udcfe", "手" * 85, "a:b;c", "%s{0}",
    "trailing. ", ".hidden",
)  # fmt: skip
"""Names of folders, as a file system allows them; the longest has 255 bytes."""


def names(workspace: Workspace) -> Observation:
    """Runs and projects under odd names; the command that is named next is one that works."""
    folder = workspace.folder("names")
    ends, shortfalls = [], list[str]()
    for name in NAMES[: workspace.count(len(NAMES), 2)]:
        run = Path(shutil.copytree(workspace.run, folder / name))
        path = run.relative_to(folder) if not name.startswith("-") else f"./{name}"
        told = workspace.tledge("bundle", path, cwd=folder)
        following = (
            told.out.rpartition("Next: tledge ")[2]
            .strip("\n")
            .replace("PHOTO.jpg", str(workspace.run / PHOTO))
        )
        rest = (
            workspace.tledge(*_words(following), cwd=folder),
            workspace.tledge("predict", path, run / PHOTO, "--json", cwd=folder),
            workspace.tledge("verify", run / "bundle", "--quiet", "--json", cwd=folder),
            workspace.tledge("report", path, cwd=folder),
        )
        ends += [told, *rest]
        shortfalls += [fault for one in (told, *rest) for fault in _wrong(repr(name[:30]), one, 0)]
        shortfalls += [f"{name[:30]!r}: left {left}" for left in temporary_disk.temporary(run)]
    ends.append(workspace.tledge("bundle", workspace.run, "--target", "web", "--out", "n" * 256, cwd=folder))
    shortfalls += _wrong("256 bytes", ends[-1], 1, "File name too long")
    return _seen("under odd names; a longer one is refused", shortfalls, ends)


def _words(line: str) -> list[str]:
    """What a shell makes of a line."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def links(workspace: Workspace) -> Observation:
    """Runs, outputs and photos that are links: what is written stays here, what they lead to stays whole."""
    folder = workspace.folder("links")
    run = workspace.own_run("links-run")
    other = Path(shutil.copytree(run, folder / "other"))
    for name, target in (("run", run), ("loop", "loop"), ("dangling", "nowhere"), ("photo.jpg", run / PHOTO)):
        (folder / name).symlink_to(target)
    shutil.rmtree(run / "bundle")
    (run / "bundle").symlink_to(other / "bundle")
    (run / "report.md").unlink()
    (run / "report.md").symlink_to(other / "report.md")
    before, ends, shortfalls = temporary_disk.files(other), [], list[str]()
    for command, code, words in (
        (("predict", "run", "photo.jpg"), 0, ()),
        (("bundle", "run"), 0, ()),
        (("report", "run"), 0, ()),
        (("verify", "loop"), 1, ("no such run folder",)),
        (("predict", "run", "loop"), 1, ("could not be read",)),
        (("bundle", "run", "--target", "web", "--out", "dangling"), 1, ("exists already",)),
        (("report", "dangling"), 1, ("no such run folder",)),
        (("init", "loop/photos"), 5, ("no such folder",)),
    ):
        ends.append(workspace.tledge(*command, cwd=folder))
        shortfalls += _wrong(command, ends[-1], code, *words)
    shortfalls += [] if temporary_disk.files(other) == before else ["what a link led to was changed"]
    shortfalls += [
        f"{path} is still a link" for path in (run / "bundle", run / "report.md") if path.is_symlink()
    ]
    return _seen("links are followed to read and replaced to write", shortfalls, ends)


def forced_link(workspace: Workspace) -> Observation:
    """Train again with --force into a run that is a link: nothing old stays, nothing beside it is touched."""
    folder = workspace.folder("forced")
    run = workspace.own_run("forced-run")
    (run.parent / "beside.txt").write_text("kept")
    (folder / "run").symlink_to(run)
    recipe = workspace.recipe(folder, train=120, epochs=1)
    ended = workspace.tledge("train", recipe, "--out", folder / "run", "--force", "--quiet")
    shortfalls = _wrong("train --force", ended, 0)
    shortfalls += [
        f"{name} of the old run is left" for name in ("bundle", "parity.json") if (run / name).exists()
    ]
    shortfalls += (
        [] if (run.parent / "beside.txt").is_file() and (folder / "run").is_symlink() else ["link broken"]
    )
    return _seen("emptied behind the link", shortfalls, [ended])


def clock(workspace: Workspace) -> Observation:
    """Files from 1970, from before it and from the future: read, verified, listed; no figure goes below 0."""
    folder = workspace.folder("clock")
    run = Path(shutil.copytree(workspace.run, folder / "runs" / "tiny"))
    ends, shortfalls = [], list[str]()
    for year, when in (("1960", -315_000_000), ("1970", 0), ("2200", 7_258_118_400)):
        for path in (run, *run.rglob("*")):
            os.utime(path, (when, when))
        for command in (("list", "runs"), ("verify", "--quiet"), ("bundle",), ("predict", run, run / PHOTO)):
            ends.append(workspace.tledge(*command, cwd=folder))
            shortfalls += _wrong(f"{year}: {command[0]}", ends[-1], 0)
    zips = {path.read_bytes() for path in (*run.glob("*.zip"), *workspace.run.glob("*.zip"))}
    shortfalls += [] if len(zips) == 1 else ["the zip depends on the clock"]
    return _seen("1960, 1970 and 2200; the zip is the same", shortfalls, ends)


def current_folder(workspace: Workspace) -> Observation:
    """A current folder that was removed, one that cannot be written, and a cache named relative to it."""
    folder = workspace.folder("current")
    recipe = workspace.recipe(folder)
    (folder / "read-only").mkdir()
    gone = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" -m tledge "$@"'
    ends, shortfalls = [], list[str]()
    for command, code, words in (
        (("predict", workspace.run, workspace.run / PHOTO), 0, ()),
        (("list", "runs"), 0, ()),
        (("data", recipe, "--quiet"), 1, ("current folder was removed",)),
        (("init", workspace.run / "golden"), 1, ()),
        (("verify",), 1, ("tledge train",)),
    ):
        ends.append(processes.run(["sh", "-c", gone, processes.TLEDGE[0], *command], workspace.env, folder))
        shortfalls += _wrong(f"removed: {command[0]}", ends[-1], code, *words)
    with _read_only(folder / "read-only"):
        ends.append(workspace.tledge("data", recipe, "--quiet", cwd=folder / "read-only", is_root=False))
        shortfalls += _wrong("read-only", ends[-1], 1, "cannot be written")
    ends.append(workspace.tledge("data", recipe, "--quiet", cwd=folder, env={"TLEDGE_CACHE": "own cache"}))
    shortfalls += _wrong("relative cache", ends[-1], 0)
    shortfalls += (
        [] if list((folder / "own cache").glob("*/index.json")) else ["the relative cache is not here"]
    )
    return _seen("each works or says so", shortfalls, ends)


STREAMS = (">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "| head -c 1 >/dev/null")


def streams(workspace: Workspace) -> Observation:
    """stdin, stdout and stderr closed, full, and a reader that goes away."""
    run = workspace.own_run("streams")
    before, ends, shortfalls = temporary_disk.files(run), [], list[str]()
    for command in ("list recipes", f"predict {run} {run / PHOTO}", f"verify {run / 'bundle'}", "--help"):
        for stream in STREAMS:
            line = f"{shlex.join(processes.TLEDGE)} {command} {stream}"
            ends.append(processes.run(["sh", "-c", line], workspace.env, run))
            wanted = (1,) if stream == ">/dev/full" else (0,)
            if ends[-1].code not in wanted:
                shortfalls.append(f"{command.split()[0]} {stream}: {ends[-1].tail}")
    shortfalls += [] if temporary_disk.files(run) == before else ["a file of the run was written into"]
    return _seen("closed, full and gone streams", shortfalls, ends)


WORKS = "works, or says what, where and what to do; nothing is changed or lost"

CASES: tuple[Case, ...] = (
    Case("read-only run folder", WORKS, read_only_run),
    Case("read-only cache", WORKS, read_only_cache),
    Case("no home folder", WORKS, no_home),
    Case("locales and terminals", "output in any encoding and width, JSON that reads back", letters),
    Case("odd names", "every command works, also the one named next", names),
    Case("symbolic links", "links do not break, nothing is written through them", links),
    Case("--force through a link", "nothing of the old run stays", forced_link, reduced=False),
    Case("clock set back and ahead", "reads and writes the same", clock, reduced=False),
    Case("current folder gone or read-only, relative cache", WORKS, current_folder),
    Case("streams closed", "ends as it would, writes into no file", streams, reduced=False),
)
