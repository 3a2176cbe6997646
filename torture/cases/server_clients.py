"""Clients that want too much of a started `tledge preview`, and users of its machine who have no key."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from torture.support.observation import Observation
from torture.support.preview_server import (
    PreviewServer,
    feedback_files,
    observe_server,
    running_server,
    start,
    stop,
)
from torture.support.untrained_bundle import make_bundle
from torture.support.workspace import Workspace

MEGAPIXELS = 16
SILENT = 600
"""Connections at a time that say nothing: more than the server holds."""

PHONE_RATE = 400 << 10
"""Bytes a second that a phone far from its router takes."""


def photo() -> bytes:
    """Build a photo as a client sends it."""
    from tests.helpers import fake_device_bundle

    return fake_device_bundle.photo(0)


def large_photo(side: int = 4000) -> bytes:
    """Build a PNG of a few KiB that decodes to 16 megapixels."""
    from tests.helpers import damaged

    return damaged.png(side, side, bytes(1 + side * 3) * side)


def large_photos_at_once(workspace: Workspace) -> Observation:
    """Send many small files of 16 megapixels at a time: memory does not grow with their number."""
    count, picture = workspace.count(200, 24), large_photo()
    with running_server(workspace, make_bundle(workspace), "megapixels") as server:

        def send(_number: int) -> int:
            return server.request("/api/feedback?label=red", picture, wait=300)[0]

        with ThreadPoolExecutor(count) as pool:
            status_counts = Counter(pool.map(send, range(count)))
        faults = [] if status_counts == {200: count} else [f"answered {dict(status_counts)}"]
        summary = (
            f"{count} photos of {MEGAPIXELS} megapixels in {len(picture) >> 10} KiB each, at a time: saved"
        )
        return observe_server(server, summary, faults, count, may_keep=True)


def phone_far_away(workspace: Workspace) -> Observation:
    """Take a model of 16 MiB slowly, and give up another: one arrives, the owner hears of the other."""
    size = workspace.count(16, 10) << 20
    bundle = _bundle_with_large_model(workspace, size)
    with running_server(workspace, bundle, "phone") as server:
        stalled = _ask_for(server, "/bundle/tflite-fp32.tflite")
        began = time.monotonic()
        with _ask_for(server, "/bundle/tflite-fp32.tflite") as connection:
            arrived, patience = _take_slowly(connection), time.monotonic() - began
        faults = []
        if arrived < size:
            faults.append(
                f"{arrived >> 10} KiB of {size >> 10} arrived, then it was cut after {patience:.0f} s"
            )
        stalled.close()
        if "stopped reading" not in server.stderr:
            faults.append("the owner was not told of the client that stopped reading")
        log = server.stderr
        summary = (
            f"{size >> 20} MiB at {PHONE_RATE >> 10} KiB/s arrive in {patience:.0f} s; a stalled one is named"
        )
        if log.count("\n") > 5:
            faults.append(f"the owner was told too often: {log}")
        return observe_server(server, summary, faults, 2)


def _bundle_with_large_model(workspace: Workspace, size: int) -> Path:
    from tests.helpers import fake_device_bundle
    from tledge._io import files

    bundle = Path(shutil.copytree(make_bundle(workspace), workspace.folder("large-model") / "bundle"))
    model = bundle / "tflite-fp32.tflite"
    model.write_bytes(model.read_bytes() + os.urandom(size))

    def describe(raw) -> None:  # type: ignore[no-untyped-def]
        for artifact in raw["artifacts"]:
            if artifact["path"] == model.name:
                artifact.update(sha256=files.sha256(model), bytes=model.stat().st_size)

    fake_device_bundle.change(bundle, describe)
    return bundle


def _ask_for(server: PreviewServer, path: str) -> socket.socket:
    """Open a connection with small buffers, as of a slow link, and send a request."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(server.head(path).encode())
    return connection


def _take_slowly(connection: socket.socket) -> int:
    """Read at `PHONE_RATE` until the server closes; return the bytes that came."""
    arrived, began = 0, time.monotonic()
    try:
        while part := connection.recv(16 << 10):
            arrived += len(part)
            time.sleep(max(0.0, arrived / PHONE_RATE - (time.monotonic() - began)))
    except OSError:
        pass
    return arrived


def silent_connections(workspace: Workspace) -> Observation:
    """Fill the server with connections that say nothing, or read nothing: its owner still gets in."""
    with running_server(workspace, make_bundle(workspace), "silent") as server:
        faults, waits = [], []
        for kind, words in {
            "silent": b"",
            "unread": server.head("/litert/litert.wasm.gz", key="").encode(),
        }.items():
            held = [socket.create_connection(("127.0.0.1", server.port)) for _number in range(SILENT)]
            for connection in held:
                _send_what_is_taken(connection, words)
            time.sleep(0.5)
            for _number in range(10):
                began = time.monotonic()
                code = server.request("/bundle/manifest.json")[0]
                waits.append(time.monotonic() - began)
                if code != 200 or waits[-1] > 2:
                    faults.append(f"{kind}: the owner got {code or 'no answer'} after {waits[-1]:.1f} s")
            for connection in held:
                connection.close()
        time.sleep(1)
        summary = (
            f"{SILENT} silent, then {SILENT} unread connections: the owner waits {max(waits):.2f} s at most"
        )
        return observe_server(server, summary, faults[:3], 2 * SILENT)


def _send_what_is_taken(connection: socket.socket, words: bytes) -> None:
    try:
        connection.sendall(words)
    except OSError:  # closed already
        return


def other_user(workspace: Workspace) -> Observation:
    """Act as another user of the machine, who connects, lists processes and serves on another port."""
    with running_server(workspace, make_bundle(workspace), "user") as server:
        faults, tried = [], 0
        for path, body in _private_addresses(workspace.reduced):
            for headers in _guesses(server.key):
                code, answer = server.request(path, body, headers=headers, key="")
                tried += 1
                if code != 403 or b"red" in answer:
                    faults.append(f"{path} with {headers}: {code}")
        page = server.request("/", key="")[1]
        secrets = [
            word for word in (b"feedback/", str(server.feedback).encode(), b"Set-Cookie") if word in page
        ]
        if secrets or (server.key and server.key.encode() in page):
            faults.append(f"the page itself tells {secrets or 'the key'}")
        observation = observe_server(server, "", faults, tried)
    with _browser(workspace) as (told, command_lines):
        faults = _process_faults(told, command_lines)
    return Observation(
        f"{tried} requests without the key refused; the browser gets the key from a private file, "
        f"none of {len(command_lines)} processes shows it",
        (*observation.shortfalls, *faults),
        files=tried,
        peak=observation.peak,
    )


def _private_addresses(reduced: bool) -> list[tuple[str, bytes | None]]:
    """List the addresses that hold something of the bundle, the run or the feedback folder."""
    addresses: list[tuple[str, bytes | None]] = [
        ("/bundle/manifest.json", None), ("/api/feedback?label=red", photo()), ("/api/features", None),
        ("/bundle/tflite-int8.tflite", None), ("/bundle/nothing", None), ("/api/flips", None),
        ("/api/flips/1.png", None), ("/api/answers", bytes(100)), ("/open", b"key="),
    ]  # fmt: skip
    return addresses[: 3 if reduced else None]


def _guesses(key: str) -> list[list[str]]:
    """List headers that hold no key, part of it, or the key where it must not be."""
    wrong = [
        [f"Authorization: {text}"] for text in ("", "Bearer", "Bearer ", "Bearer x", f"Bearer {key[:-1]}")
    ]
    wrong += [[f"Authorization: Bearer {key}x"], [f"Authorization: Basic {key}"], [f"Authorization: {key}"]]
    return [[], *wrong, [f"Cookie: tledge_key={key}"], [f"Authorization: Bearer {key.swapcase()}x"]]


@contextmanager
def _browser(workspace: Workspace) -> Iterator[tuple[list[str], list[str]]]:
    """Start a preview that opens a browser; give what that browser was told, and all command lines meanwhile.

    The browser is a script that writes down its arguments and stays, as a browser does.
    """
    folder = workspace.folder("browser")
    script, log = folder / "browser", folder / "told"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {log}.new && mv {log}.new {log}\nsleep 5\n')
    script.chmod(0o755)
    workspace.env["BROWSER"] = str(script)
    try:
        server = start(workspace, make_bundle(workspace), folder, browser=True)
        try:
            until = time.monotonic() + 10
            while not log.exists() and time.monotonic() < until:
                time.sleep(0.05)
            told = [*log.read_text().split(), server.key] if log.exists() else ["", server.key]
            yield told, _command_lines()
        finally:
            stop(server, signal.SIGINT)
    finally:
        del workspace.env["BROWSER"]


def _command_lines() -> list[str]:
    """Read the command lines of all processes, as every user can."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue
    return lines


def _process_faults(told: list[str], command_lines: list[str]) -> list[str]:
    """List where other users could find the key: in a command line, or in a file that they may read."""
    *arguments, key = told
    if not key:
        return ["the server needs no key"]
    faults = [f"a command line shows the key: {line}" for line in command_lines if key in line]
    page = Path(re.sub("^file://", "", arguments[0]))
    if not page.is_file() or key not in page.read_text():
        return [*faults, f"the browser was told {arguments}, no file with the key"]
    for path, mode in ((page, 0o600), (page.parent, 0o700)):
        if stat.S_IMODE(path.stat().st_mode) != mode:
            faults.append(f"{path}: its mode is {path.stat().st_mode:o}")
    return faults


def feedback_behind_links(workspace: Workspace) -> Observation:
    """Put links, and folders of others, in the place of feedback folders: nothing is written behind them."""
    faults, refused = [], 0
    with running_server(workspace, make_bundle(workspace), "links") as server:
        elsewhere = workspace.folder("elsewhere")
        for name, make in _plants(elsewhere).items():
            shutil.rmtree(server.feedback, ignore_errors=True)
            server.feedback.mkdir()
            make(server.feedback / "red")
            code, answer = server.request("/api/feedback?label=red", photo())
            refused += code in (422, 500)
            if strays := [path for path in elsewhere.rglob("*") if path.is_file()]:
                faults.append(f"{name}: wrote {strays}")
                shutil.rmtree(elsewhere)
                elsewhere.mkdir()
            if code not in (422, 500):
                faults.append(f"{name}: answered {code} {answer[-80:]!r}")
        shutil.rmtree(server.feedback)
        if server.request("/api/feedback?label=red", photo())[0] != 200:
            faults.append("a good photo is not saved any more")
        for path in (server.feedback / "red", *feedback_files(server)):
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                faults.append(f"{path.name}: others may read it")
        summary = f"{refused} folders that are links or another's refused, nothing written behind them"
        return observe_server(server, summary, faults, refused + 1, may_keep=True)


def _plants(elsewhere: Path):  # type: ignore[no-untyped-def]
    """Return what may lie in the place of a label's folder: a name, and the function that puts it there."""

    def anothers(path: Path) -> None:
        path.mkdir(0o777)
        os.chown(path, 12345, 12345)

    plants = {
        "a link": lambda path: path.symlink_to(elsewhere),
        "a link to nothing": lambda path: path.symlink_to(elsewhere / "new"),
        "a file": lambda path: path.write_bytes(b""),
        "a pipe": os.mkfifo,
    }
    return plants | ({"another user's folder": anothers} if os.geteuid() == 0 else {})
