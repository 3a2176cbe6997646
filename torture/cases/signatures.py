"""A signed bundle is changed in every way one can think of: its key refuses it, and says which file it is."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

WORKER = "torture.workers.signed_bundle_opener"
PASSWORD = "TLEDGE_KEY_PASSWORD"


def write_keys(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A new Ed25519 key pair in PEM files: private, public."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    public.write_bytes(
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def signed(workspace: Workspace, name: str) -> tuple[Path, Path]:
    """A copy of the tiny run with a signed bundle, and the public key."""
    run = workspace.own_run(name)
    private, public = write_keys(run.parent, "own")
    workspace.done("bundle", run, "--sign", private, "--quiet")
    return run, public


def changed(workspace: Workspace, form: str) -> Observation:
    """Thousands of changed bundles, each opened with the key in one child process."""
    run, public = signed(workspace, f"signed-{form}")
    bundle = run / "bundle" if form == "folder" else next(run.glob("*.zip"))
    count = workspace.count(full=1200, reduced=100)
    command = processes.python_module(WORKER, form, bundle, public, count, f"{workspace.seed} {form}")
    ended = processes.run(command, workspace.env, timeout=1800)
    if ended.code:
        shortfalls = (f"the process that tries them ended early: {ended.tail}",)
        return Observation(ended.tail, shortfalls, crashes=int(ended.crashed), hangs=int(ended.hung))
    found = json.loads(ended.out)
    more = (f"and {found['all'] - len(found['wrong'])} more",) if found["all"] > len(found["wrong"]) else ()
    told = ", ".join(f"{kind} {many}" for kind, many in found["kinds"].items())
    said = f"{count} changed bundles, {count - found['all']} of them judged rightly ({told})"
    return Observation(said, (*found["wrong"], *more), files=count, peak=found["peak"])


def commands(workspace: Workspace) -> Observation:
    """Every command that takes a key, with the right one, another one, and a changed bundle."""
    run, public = signed(workspace, "signed-commands")
    _private, other = write_keys(run.parent, "other")
    photo = next((run / "bundle" / "golden").glob("0*.jpg"))
    tried: list[tuple[str, processes.ProcessResult, int, str]] = []

    def attempt(what: str, code: int, words: str, *arguments: object) -> None:
        ended = workspace.tledge(*arguments, cwd=run.parent, timeout=60)  # a preview that serves does not end
        tried.append((what, ended, code, words))

    bundle, project = run / "bundle", run.parent / "pi"
    attempt("verified", 0, "and unchanged since", "verify", bundle, "--key", public)
    attempt("verified without a key", 0, "that was not checked", "verify", next(run.glob("*.zip")))
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
    more = {"verify": (), "predict": (photo,), "preview": ("--no-browser",), "bundle": ("--target", "cpp")}
    for name, rest in more.items():
        attempt(f"{name} of a changed one", 4, "labels.txt was changed", name, bundle, *rest, "--key", public)
    return _told(tried)


def keys(workspace: Workspace) -> Observation:
    """Keys with a password, a wrong one, none, and files that are no keys: never a prompt, never a bundle."""
    run = workspace.own_run("signed-keys")
    private, public = write_keys(run.parent, "locked", b"secret")
    tried: list[tuple[str, processes.ProcessResult, int, str]] = []

    def attempt(what: str, code: int, words: str, key: Path, **env: str) -> None:
        tried.append((what, workspace.tledge("bundle", run, "--sign", key, env=env, timeout=60), code, words))

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
        one for one in (run / "bundle").rglob("*") if one.is_file() and b"PRIVATE KEY" in one.read_bytes()
    ]
    leaked = f"{held[0].name} holds a private key" if held else ""
    return _told(tried, bundled, same, leaked)


def _told(tried: list[tuple[str, processes.ProcessResult, int, str]], *faults: str) -> Observation:
    """What the commands came to: exit codes, and words on either stream."""
    shortfalls = [one for one in faults if one]
    for what, ended, code, words in tried:
        if ended.code != code or words not in " ".join((ended.out + ended.err).split()):
            shortfalls.append(f"{what}: expected exit {code} and {words!r}, found {ended.tail}")
    return Observation(
        f"{len(tried)} commands, {len(tried) - len(shortfalls)} as they have to end",
        tuple(shortfalls),
        crashes=sum(ended.crashed for _what, ended, _code, _words in tried),
        hangs=sum(ended.hung for _what, ended, _code, _words in tried),
        peak=max(ended.peak for _what, ended, _code, _words in tried),
    )


CASES = (
    Case("changed folders", "a key refuses every change and names the file", partial(changed, form="folder")),
    Case(
        "changed zips", "a key refuses every change, or what is read was signed", partial(changed, form="zip")
    ),
    Case("commands", "verify, predict, preview and bundle end with 4 before they do anything", commands),
    Case("keys", "a key that does not serve ends with 2, without a prompt and without a bundle", keys),
)
