"""Attacks on a started `tledge preview`: whom it answers, what it hands out, holds and keeps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from torture.cases.server_requests import fuzzed, slow_requests, strange_requests
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.preview_server import (
    SECRET,
    PreviewServer,
    feedback_files,
    judged,
    running_server,
    start,
    stop,
)
from torture.support.untrained_bundle import bundle
from torture.support.workspace import Workspace

MANY = 200
"""Requests at a time that are all answered."""


def _photo(number: int = 0) -> bytes:
    from tests import fake_device_bundle

    return fake_device_bundle.photo(number)


def reachable_here_alone(workspace: Workspace) -> Observation:
    """Other addresses of this machine are not listened on; with --lan they are, and need the key."""
    from tledge.preview.server import lan_addresses

    others, wrong = ["127.0.0.2", *lan_addresses()], []
    with running_server(workspace, bundle(workspace), "here") as one:
        if (found := _listens(one.port)) != {"127.0.0.1"}:
            wrong.append(f"it listens on {sorted(found)}")
        wrong += [f"it answers on {address}" for address in others if _connects(address, one.port)]
        seen = judged(
            one, f"listens on 127.0.0.1 alone, {len(others)} other addresses refuse", wrong, len(others)
        )
    with running_server(workspace, bundle(workspace), "lan", "--lan") as one:
        key = urlsplit(one.url).query.partition("=")[2]
        tried = ["/", "/?key=", "/?key=x", f"/?key={key[:-1]}", f"/?key={key}x", f"/?key={key.swapcase()}",
                 "/?key=x&key=" + key, "/bundle/manifest.json", "/page.js", "/api/flips"]  # fmt: skip
        got = Counter(one.ask(path)[0] for path in tried)
        got.update(one.ask(headers=[f"Cookie: tledge_key={cookie}"])[0] for cookie in ("", "x", '"', key[1:]))
        got[one.ask("/api/feedback?label=red", _photo())[0]] += 1
        if set(got) != {403} or one.ask(f"/?key={key}")[0] != 200 or one.feedback.exists():
            wrong.append(f"--lan without the key: {dict(got)}")
        if one.ask(f"/?key={key}", host=f"evil.example:{one.port}")[0] != 421:
            wrong.append("--lan answers under another name")
        said = f"{seen.summary}; --lan: {got.total()} without the right key refused"
        shortfalls = (*seen.shortfalls, *wrong, *(f"--lan: {fault}" for fault in _lan_faults(one)))
    return Observation(said, shortfalls, files=seen.files + got.total(), peak=seen.peak)


def _lan_faults(one: PreviewServer) -> list[str]:
    return [] if one.process.poll() is None and "Traceback" not in one.stderr else [one.stderr]


def _listens(port: int) -> set[str]:
    """Addresses on which something listens at a port, as the kernel has it, of IPv4 and IPv6."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            address, _, number = line.split()[1].rpartition(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                packed = bytes.fromhex(address)[::-1]
                found.add(socket.inet_ntoa(packed) if len(packed) == 4 else "IPv6")
    return found


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def other_names_and_pages(workspace: Workspace) -> Observation:
    """DNS rebinding and orders of other pages."""
    with running_server(workspace, bundle(workspace), "names") as one:
        port = one.port
        hosts = [
            "evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", "é",
            f"127.0.0.1.evil:{port}", f"[::1]:{port}", f"0.0.0.0:{port}", f"127.1:{port}", "x" * 5000,
            f"2130706433:{port}", f"localhost.:{port}", f"127.0.0.1:{port}@evil", f"evil@127.0.0.1:{port}",
            f"127.0.0.1:{port}, evil",
            f"\t127.0.0.1:{port}x", f"localhost:{port}\0",
        ]  # fmt: skip
        origins = [
            "http://evil.example", "null", f"https://127.0.0.1:{port}", "http://127.0.0.1", "file://", "",
            f"http://localhost:{port}", f"http://127.0.0.1:{port}.evil", f"http://127.0.0.1:{port}/",
        ]  # fmt: skip
        wrong = []
        for host in hosts:
            got, answer = one.ask("/bundle/manifest.json", host=host)
            if got != 421 or b"labels" in answer:
                wrong.append(f"Host {host[:40]!r}: {got}")
        for origin in origins:
            got, _answer = one.ask("/api/feedback?label=red", _photo(), headers=[f"Origin: {origin}"])
            if got != 403:
                wrong.append(f"Origin {origin!r}: {got}")
        twice = (
            one.ask(headers=[f"Host: {one.host}"])[0],
            one.ask(headers=["Origin: x", f"Origin: http://{one.host}"])[0],
        )
        if twice != (400, 400):
            wrong.append(f"Host or Origin twice: {twice}")
        tried = len(hosts) + len(origins) + 2
        return judged(one, f"{tried} requests under other names or of other pages refused", wrong, tried)


TRAVERSALS = (
    "/../secret", "/bundle/../../secret", "/bundle/%2e%2e/%2e%2e/secret",
    "/bundle/%252e%252e/%252e%252e/secret", "/bundle/..%2f..%2fsecret", "/bundle/..%5c..%5csecret",
    "/bundle/..\\..\\secret", "/bundle/....//....//secret", "/bundle//etc/passwd", "//etc/passwd",
    "/bundle/%00", "/bundle/manifest.json%00", "/bundle/manifest.json%00.png",
    "/bundle/%c0%ae%c0%ae/secret", "/bundle/%ff%fe", "/bundle/\uff0e\uff0e/secret", "/bundle/.%2e/secret",
    "/bundle/golden/../../secret", "/bundle/golden", "/bundle/golden/", "/bundle/./manifest.json",
    "/bundle", "/bundle/manifest.json/", "/bundle/manifest.json/..", "/%2e%2e/pyproject.toml", 
    "/index.html/..", "/litert/../README.md", "/server.py", "/.git/config", "/feedback/", "/api/../secret",
    "file:///etc/passwd", "http://evil.example/etc/passwd", "/bundle/link.txt", "/bundle/links/secret",
    "/bundle/loop", "*", "?", "#", "/bundle/" + "a" * 30, "/bundle/" + "../" * 8000 + "etc/passwd",
    "/api/flips/../../secret", "/api/flips/99999999999999999999.png", "/api/flips/-1.png",
    "/api/flips/\u0661.png", "/bundle/C:\\secret",
)  # fmt: skip
"""Paths that lead out of the bundle, or look as if they might."""


def path_traversal(workspace: Workspace) -> Observation:
    """No path gives a file that is none of the bundle's or the page's; links out of the bundle neither."""
    folder = workspace.folder("traversal")
    own = Path(shutil.copytree(bundle(workspace), folder / "bundle"))
    (folder / "secret").write_bytes(SECRET)
    (own / "link.txt").symlink_to(folder / "secret")
    (own / "links").symlink_to(folder)
    (own / "loop").symlink_to("loop")
    with running_server(workspace, own, "traversal") as one:
        wrong, got = [], Counter[int]()
        for path in TRAVERSALS:
            code, answer = one.ask(path)
            got[code] += 1
            page = code == 200 and b"<title>tledge preview" in answer and path in ("?", "#", "/index.html/..")
            if (code not in (400, 404, 414, 422) and not page) or SECRET in answer or b"root:" in answer:
                wrong.append(f"{path[:60]}: {code}")
        return judged(
            one, f"{len(TRAVERSALS)} paths: answered {dict(got)}, none with a file", wrong, len(TRAVERSALS)
        )


def many_at_once(workspace: Workspace) -> Observation:
    """Two hundred at a time: files, refusals, pictures to keep; all are answered, and memory is bounded."""
    with running_server(workspace, bundle(workspace), "many") as one:
        wrong, told = [], []
        asked = {
            "the manifest": lambda _n: one.ask("/bundle/manifest.json")[0],
            "3 MB of the page": lambda _n: one.ask("/litert/litert.wasm.gz")[0],
            "pictures to keep": lambda n: one.ask("/api/feedback?label=red", _photo(n % 20))[0],
            "32 MB of no picture": lambda _n: one.ask("/api/feedback?label=red", bytes(32 << 20))[0],
        }
        expected = {"32 MB of no picture": 422}
        for name, work in asked.items():
            count = MANY if name != "32 MB of no picture" else workspace.count(MANY, 40)
            with ThreadPoolExecutor(count) as pool:
                got = Counter(pool.map(work, range(count)))
            told.append(f"{name} {count}")
            if got != {expected.get(name, 200): count}:
                wrong.append(f"{name}: answered {dict(got)}")
        if len(feedback_files(one)) != 20:
            wrong.append(f"{len(feedback_files(one))} pictures kept, 20 were different")
        before = one.peak
        if not workspace.reduced:
            wrong += _large_at_once(workspace, one)
        said = f"at a time: {', '.join(told)}: all answered at {before:.0f} MiB"
        return judged(one, said, wrong, MANY * 4, most=1500, may_keep=True)


def _large_at_once(workspace: Workspace, one: PreviewServer) -> list[str]:
    """Small files of 100 megapixels, twenty at a time: decoded one by one."""
    from tests import damaged

    row = bytes(1) + bytes(10_000 * 3)
    picture = damaged.png(10_000, 10_000, row * 10_000)
    with ThreadPoolExecutor(20) as pool:
        got = Counter(pool.map(lambda _n: one.ask("/api/feedback?label=red", picture)[0], range(20)))
    return [] if got == {200: 20} else [f"20 of 100 megapixels: {dict(got)}"]


def feedback_stays_inside(workspace: Workspace) -> Observation:
    """Whatever the bundle's labels are: nothing is written outside the feedback folder, nor without end."""
    from tests import fake_device_bundle

    folder = workspace.folder("labels")
    labels = [
        "../up", str(workspace.work / "absolute"), "..", ".", "a/b", "a\\..\\b", "x" * 300,
        "e\u0301", "\u00e9", "CON", " ", "red",
    ]  # fmt: skip
    wrong, got, tried = [], Counter[int](), 0
    for number in range(0, len(labels), 5):
        some = [*labels[number : number + 5], "third"]
        own = Path(shutil.copytree(bundle(workspace), folder / str(number)))
        fake_device_bundle.change(own, lambda raw, some=some: raw.update(labels=some))
        with running_server(workspace, own, f"labels-{number}") as one:
            for label in (*some, "unknown", "%2e%2e", "third/../../up", "nul\0l", "\u202e.."):
                got[one.ask(f"/api/feedback?label={_quoted(label)}", _photo())[0]] += 1
                tried += 1
            wrong += [f"it wrote {path}" for path in _strays(workspace, one)]
            wrong += one.faults()
    if not got[200] or not got[422]:
        wrong.append(f"answered {dict(got)}")
    full = _full_folder(workspace)
    return Observation(
        f"{tried} pictures under {len(labels)} labels: answered {dict(got)}, none outside; {full.summary}",
        (*wrong, *full.shortfalls),
        files=tried + full.files,
    )


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _strays(workspace: Workspace, one: PreviewServer) -> list[Path]:
    """Pictures that lie neither in a bundle nor one folder below the feedback folder."""
    served = one.feedback.parent
    found = [path for path in served.rglob("*.png") if path.parent.parent != one.feedback]
    found += [path for path in workspace.work.glob("*.png")] + [path for path in served.parent.glob("up/*")]
    return found + [path for path in (workspace.work / "absolute",) if path.exists()]


def _full_folder(workspace: Workspace) -> Observation:
    """A folder that holds its most, one that is a file, and a full disk where one can be had."""
    with running_server(workspace, bundle(workspace), "full") as one:
        (one.feedback / "red").mkdir(parents=True)
        with (one.feedback / "red" / "old.png").open("wb") as file:
            file.truncate(2 << 30)
        full, said = one.ask("/api/feedback?label=red", _photo())
        (one.feedback / "green").write_bytes(b"")
        (one.feedback / "red" / "old.png").unlink()
        file_, why = one.ask("/api/feedback?label=green", _photo())
        shortfalls = [*one.faults()]
        if full != 422 or b"full" not in said:
            shortfalls.append(f"a full folder: {said[-100:]!r}")
        if file_ != 500 or b"cannot be written" not in why:
            shortfalls.append(f"a file in the label's place: {why[-100:]!r}")
    return Observation(
        "a full folder refuses, a file in a label's place is named", tuple(shortfalls), files=2
    )


def restarted(workspace: Workspace) -> Observation:
    """Ended by signals with clients connected, it starts again on its port at once; a taken port is named."""
    folder, wrong, times = workspace.folder("restart"), [], workspace.count(20, 3)
    one = start(workspace, bundle(workspace), folder)
    port = one.port
    for number in range(times):
        with socket.create_connection(("127.0.0.1", port)) as left:
            left.sendall(b"GET / HTTP/1.1\r\nHo")
            one.ask()
            code = stop(one, (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)[number % 3])
            if number % 3 == 0 and code != 0:
                wrong.append(f"SIGINT: exit {code}")
            try:
                one = start(workspace, bundle(workspace), folder, "--port", port)
            except RuntimeError as error:
                return Observation("", (*wrong, f"restart {number}: {error}"), kills=number)
    taken = workspace.tledge("preview", bundle(workspace), "--no-browser", "--port", port, timeout=20)
    if taken.code != 1 or taken.crashed or f"--port {port}: cannot be had" not in taken.err:
        wrong.append(f"a taken port: {taken.tail}")
    seen = judged(
        one, f"{times} times ended and at once back on its port; a taken one is named", wrong, times
    )
    stop(one)
    return Observation(seen.summary, seen.shortfalls, kills=times, peak=seen.peak)


def models_of_a_run(workspace: Workspace) -> Observation:
    """Pixels of wrong sizes are refused, two hundred right ones at a time answered alike by every model."""
    with running_server(workspace, workspace.run, "run") as one:
        side = json.loads((workspace.run / "run.json").read_text())["input"]["height"]
        wrong = []
        for size in (0, 1, side * side * 3 - 1, side * side * 3 + 1, 1 << 20):
            if (got := one.ask("/api/answers", bytes(size))[0]) != 400:
                wrong.append(f"{size} bytes of pixels: {got}")
        with ThreadPoolExecutor(MANY) as pool:
            answers = list(
                pool.map(lambda _n: one.ask("/api/answers", os.urandom(side * side * 3)), range(MANY))
            )
        if Counter(code for code, _data in answers) != {200: MANY}:
            wrong.append(f"pixels: answered {dict(Counter(code for code, _data in answers))}")
        if any(b'"error": "M' in data or b'"probabilities": null' in data for _code, data in answers):
            wrong.append("a model did not answer")
        return judged(
            one, f"{MANY} at a time answered by all models, 5 sizes refused", wrong, MANY + 5, most=2500
        )


CASES: tuple[Case, ...] = (
    Case("not reachable from outside", "on 127.0.0.1 alone; --lan with its key alone", reachable_here_alone),
    Case("other names, other pages", "Host and Origin are its own", other_names_and_pages),
    Case("path traversal", "no file but those of page and bundle", path_traversal),
    Case("strange requests", "refused with one answer", strange_requests),
    Case("slow requests", "keep nobody out, and end", slow_requests),
    Case("200 at a time", "all are answered, memory is bounded", many_at_once),
    Case("feedback", "nothing is written elsewhere, nor without end", feedback_stays_inside),
    Case("restart", "at once on the same port", restarted),
    Case("fuzzed requests", "it goes on, flat, and writes nothing", fuzzed),
    Case("a run's models", "wrong sizes refused, 200 answered", models_of_a_run, reduced=False),
)
