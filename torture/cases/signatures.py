"""Signed bundles that are changed in every way: the key refuses them, and the message names the file."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from torture.cases import links_and_pipes
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.signing_keys import sign_bundle, write_keys
from torture.support.workspace import Workspace

WORKER = "torture.workers.signed_bundle_opener"
PASSWORD = "TLEDGE_KEY_PASSWORD"


def changed_bundles(workspace: Workspace, form: str) -> Observation:
    """Open thousands of changed bundles with the key, in one child process."""
    run, public = sign_bundle(workspace, f"signed-{form}")
    bundle = run / "bundle" if form == "folder" else next(run.glob("*.zip"))
    count = workspace.count(full=1200, reduced=100)
    command = processes.python_module(WORKER, form, bundle, public, count, f"{workspace.seed} {form}")
    result = processes.run(command, workspace.env, timeout=1800)
    if result.code:
        shortfalls = (f"the process that tries them ended early: {result.tail}",)
        return Observation(result.tail, shortfalls, crashes=int(result.crashed), hangs=int(result.hung))
    outcome = json.loads(result.out)
    unlisted = (
        (f"and {outcome['all'] - len(outcome['wrong'])} more",)
        if outcome["all"] > len(outcome["wrong"])
        else ()
    )
    kind_counts = ", ".join(f"{kind} {count}" for kind, count in outcome["kinds"].items())
    summary = f"{count} changed bundles, {count - outcome['all']} of them judged rightly ({kind_counts})"
    return Observation(summary, (*outcome["wrong"], *unlisted), files=count, peak=outcome["peak"])


def commands_with_key(workspace: Workspace) -> Observation:
    """Run every command that takes a key, with the right one, another one, and a changed bundle."""
    run, public = sign_bundle(workspace, "signed-commands")
    _private, other = write_keys(run.parent, "other")
    photo = next((run / "bundle" / "golden").glob("0*.jpg"))
    attempts: list[tuple[str, processes.ProcessResult, int, str]] = []

    def attempt(description: str, code: int, words: str, *arguments: object) -> None:
        result = workspace.tledge(
            *arguments, cwd=run.parent, timeout=60
        )  # a preview that serves does not end
        attempts.append((description, result, code, words))

    bundle, project = run / "bundle", run.parent / "pi"
    attempt("verified", 0, "and unchanged since", "verify", bundle, "--key", public)
    attempt("verified without a key", 0, "not verified", "verify", next(run.glob("*.zip")))
    attempt("another key", 4, "signed with another key", "verify", bundle, "--key", other)
    attempt(
        "project",
        0,
        "Project",
        "bundle",
        bundle,
        "--target",
        "raspberry_pi",
        "--out",
        project,
        "--key",
        public,
    )
    attempt("the bundle in it", 0, "and unchanged since", "verify", project / "bundle", "--key", public)
    labels = bundle / "labels.txt"
    labels.write_text("".join(reversed(labels.read_text(encoding="utf-8").splitlines(keepends=True))))
    more_arguments = {
        "verify": (),
        "predict": (photo,),
        "preview": ("--no-browser",),
        "bundle": ("--target", "cpp"),
    }
    for name, rest in more_arguments.items():
        attempt(f"{name} of a changed one", 4, "labels.txt was changed", name, bundle, *rest, "--key", public)
    return _observation(attempts)


def unusable_keys(workspace: Workspace) -> Observation:
    """Try keys with a password, a wrong one, none, and files that are no keys: never a prompt or a bundle."""
    run = workspace.own_run("signed-keys")
    private, public = write_keys(run.parent, "locked", b"secret")
    attempts: list[tuple[str, processes.ProcessResult, int, str]] = []

    def attempt(description: str, code: int, words: str, key: Path, **env: str) -> None:
        attempts.append(
            (description, workspace.tledge("bundle", run, "--sign", key, env=env, timeout=60), code, words)
        )

    shutil.rmtree(run / "bundle")
    attempt("no password", 2, f"Put it into {PASSWORD}", private)
    attempt("a wrong password", 2, "may be wrong", private, **{PASSWORD: "wrong"})
    attempt("a public key", 2, "not a private key", public)
    attempt("no key", 2, "not a key in PEM form", run / "run.json")
    attempt("an endless file", 2, "not a key in PEM form", Path("/dev/zero"))
    attempt("no file", 2, "no key can be read", run / "none.pem")
    bundled = "" if not (run / "bundle").exists() else "a bundle was made without a key that serves"
    attempt("its password", 0, "Signed: sha256:", private, **{PASSWORD: "secret"})
    first = next(run.glob("*.zip")).read_bytes()
    attempt("once more", 0, "Signed: sha256:", private, **{PASSWORD: "secret"})
    same = "" if next(run.glob("*.zip")).read_bytes() == first else "signed twice, the zip has other bytes"
    held = [
        path for path in (run / "bundle").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    ]
    leaked = f"{held[0].name} holds a private key" if held else ""
    return _observation(attempts, bundled, same, leaked)


def _observation(attempts: list[tuple[str, processes.ProcessResult, int, str]], *faults: str) -> Observation:
    """Sum up the commands: exit codes, and words on either stream."""
    shortfalls = [fault for fault in faults if fault]
    for description, result, code, words in attempts:
        if result.code != code or words not in " ".join((result.out + result.err).split()):
            shortfalls.append(f"{description}: expected exit {code} and {words!r}, found {result.tail}")
    return Observation(
        f"{len(attempts)} commands, {len(attempts) - len(shortfalls)} as they have to end",
        tuple(shortfalls),
        crashes=sum(result.crashed for _what, result, _code, _words in attempts),
        hangs=sum(result.hung for _what, result, _code, _words in attempts),
        peak=max(result.peak for _what, result, _code, _words in attempts),
    )


CASES = (
    Case(
        "changed folders",
        "a key refuses every change and names the file",
        partial(changed_bundles, form="folder"),
    ),
    Case(
        "changed zips",
        "a key refuses every change, or what is read was signed",
        partial(changed_bundles, form="zip"),
    ),
    Case(
        "commands",
        "verify, predict, preview and bundle end with 4 before they do anything",
        commands_with_key,
    ),
    Case(
        "keys", "a key that does not serve ends with 2, without a prompt and without a bundle", unusable_keys
    ),
    Case(
        "links in what is signed",
        "refused by name; nothing behind a link is packed or signed",
        links_and_pipes.signed_links,
    ),
    Case(
        "a run with a key",
        "preview opens the signed bundle alone; verify and bundle name the command to type",
        links_and_pipes.previews_with_key,
    ),
)
