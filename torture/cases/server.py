"""Attacks on a started `tledge preview`: whom it serves, what it hands out, holds and keeps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture.cases.server_clients import (
    feedback_behind_links,
    large_photos_at_once,
    other_user,
    phone_far_away,
    silent_connections,
)
from torture.cases.server_requests import fuzzed_requests, slow_requests, strange_requests
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.preview_server import (
    SECRET,
    PreviewServer,
    feedback_files,
    observe_server,
    running_server,
    start,
    stop,
)
from torture.support.untrained_bundle import make_bundle
from torture.support.workspace import Workspace

SIMULTANEOUS = 200
"""Requests at a time that are all answered."""


def _photo(number: int = 0) -> bytes:
    from tests.helpers import fake_device_bundle

    return fake_device_bundle.photo(number)


def local_addresses_only(workspace: Workspace) -> Observation:
    """Check that other addresses are not listened on; with --lan they are, and need the key."""
    from tledge.preview.addresses import lan_addresses

    others, faults = ["127.0.0.2", *lan_addresses()], []
    with running_server(workspace, make_bundle(workspace), "here") as server:
        if (addresses := _listening_addresses(server.port)) != {"127.0.0.1"}:
            faults.append(f"it listens on {sorted(addresses)}")
        faults += [f"it answers on {address}" for address in others if _can_connect(address, server.port)]
        observation = observe_server(
            server, f"listens on 127.0.0.1 alone, {len(others)} other addresses refuse", faults, len(others)
        )
    with running_server(workspace, make_bundle(workspace), "lan", "--lan") as server:
        status_counts = _refusals_without_key(server)
        public = Counter(server.request(path, key="")[0] for path in ("/", "/page.js", "/?key=x"))
        if set(status_counts) != {403} or set(public) != {200} or server.feedback.exists():
            faults.append(f"--lan without the key: {dict(status_counts)}, of the page {dict(public)}")
        if server.request("/bundle/manifest.json")[0] != 200:
            faults.append("--lan does not answer with the key")
        if server.request(host=f"evil.example:{server.port}")[0] != 421:
            faults.append("--lan answers under another name")
        summary = f"{observation.summary}; --lan: {status_counts.total()} without the right key refused"
        shortfalls = (*observation.shortfalls, *faults, *(f"--lan: {fault}" for fault in _lan_faults(server)))
    return Observation(
        summary, shortfalls, files=observation.files + status_counts.total(), peak=observation.peak
    )


def _refusals_without_key(server: PreviewServer) -> Counter[int]:
    """Ask for what is private without the key, with part of it, and with it where browsers tell it on."""
    key = server.key
    paths = ["/bundle/manifest.json", "/api/flips", "/api/features", "/nothing", f"/api/features?key={key}"]
    status_counts = Counter(server.request(path, key="")[0] for path in paths)
    for wrong in ("x", key[:-1], f"{key}x", key.upper(), "\u00e9"):
        status_counts[server.request("/bundle/manifest.json", key=wrong)[0]] += 1
    for cookie in ("", "x", '"', key[1:], key):
        headers = [f"Cookie: tledge_key={cookie}"]
        status_counts[server.request("/bundle/manifest.json", key="", headers=headers)[0]] += 1
    status_counts[server.request("/api/feedback?label=red", _photo(), key="")[0]] += 1
    return status_counts


def _lan_faults(server: PreviewServer) -> list[str]:
    return [] if server.process.poll() is None and "Traceback" not in server.stderr else [server.stderr]


def _listening_addresses(port: int) -> set[str]:
    """Read the addresses on which something listens at a port, from the kernel, IPv4 and IPv6."""
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            address, _, number = line.split()[1].rpartition(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                packed = bytes.fromhex(address)[::-1]
                addresses.add(socket.inet_ntoa(packed) if len(packed) == 4 else "IPv6")
    return addresses


def _can_connect(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def foreign_hosts_and_origins(workspace: Workspace) -> Observation:
    """Try DNS rebinding, and requests of other pages."""
    with running_server(workspace, make_bundle(workspace), "names") as server:
        port = server.port
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
        faults = []
        for host in hosts:
            reply_status, answer = server.request("/bundle/manifest.json", host=host)
            if reply_status != 421 or b"labels" in answer:
                faults.append(f"Host {host[:40]!r}: {reply_status}")
        for origin in origins:
            reply_status, _answer = server.request(
                "/api/feedback?label=red", _photo(), headers=[f"Origin: {origin}"]
            )
            if reply_status != 403:
                faults.append(f"Origin {origin!r}: {reply_status}")
        twice = (
            server.request(headers=[f"Host: {server.host}"])[0],
            server.request(headers=["Origin: x", f"Origin: http://{server.host}"])[0],
        )
        if twice != (400, 400):
            faults.append(f"Host or Origin twice: {twice}")
        request_count = len(hosts) + len(origins) + 2
        return observe_server(
            server,
            f"{request_count} requests under other names or of other pages refused",
            faults,
            request_count,
        )


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
    """Ask for paths outside of the bundle and the page, also through links: none gives a file."""
    folder = workspace.folder("traversal")
    bundle_copy = Path(shutil.copytree(make_bundle(workspace), folder / "bundle"))
    (folder / "secret").write_bytes(SECRET)
    with running_server(workspace, bundle_copy, "traversal") as server:
        for name, target in {"link.txt": folder / "secret", "links": folder, "loop": "loop"}.items():
            (bundle_copy / name).symlink_to(target)
        faults, status_counts = [], Counter[int]()
        for path in TRAVERSALS:
            code, answer = server.request(path)
            status_counts[code] += 1
            page = code == 200 and b"<title>tledge preview" in answer and path in ("?", "#", "/index.html/..")
            if (code not in (400, 404, 414, 422) and not page) or SECRET in answer or b"root:" in answer:
                faults.append(f"{path[:60]}: {code}")
        return observe_server(
            server,
            f"{len(TRAVERSALS)} paths: answered {dict(status_counts)}, none with a file",
            faults,
            len(TRAVERSALS),
        )


def simultaneous_requests(workspace: Workspace) -> Observation:
    """Send two hundred requests at a time: all are served, and memory is bounded."""
    with running_server(workspace, make_bundle(workspace), "many") as server:
        faults, counts = [], []
        requests = {
            "the manifest": lambda _n: server.request("/bundle/manifest.json")[0],
            "3 MB of the page": lambda _n: server.request("/litert/litert.wasm.gz")[0],
            "pictures to keep": lambda n: server.request("/api/feedback?label=red", _photo(n % 20))[0],
            "32 MB of no picture": lambda _n: server.request(
                "/api/feedback?label=red", bytes(32 << 20), wait=90
            )[0],
        }
        expected = {"32 MB of no picture": 422}
        for name, work in requests.items():
            count = SIMULTANEOUS if name != "32 MB of no picture" else workspace.count(SIMULTANEOUS, 40)
            with ThreadPoolExecutor(count) as pool:
                status_counts = Counter(pool.map(work, range(count)))
            counts.append(f"{name} {count}")
            if status_counts != {expected.get(name, 200): count}:
                faults.append(f"{name}: answered {dict(status_counts)}")
        if len(feedback_files(server)) != 20:
            faults.append(f"{len(feedback_files(server))} pictures kept, 20 were different")
        before = server.peak
        if not workspace.reduced:
            faults += _large_images_at_once(workspace, server)
        summary = f"at a time: {', '.join(counts)}: all answered at {before:.0f} MiB"
        return observe_server(server, summary, faults, SIMULTANEOUS * 4, most=1500, may_keep=True)


def _large_images_at_once(workspace: Workspace, server: PreviewServer) -> list[str]:
    """Send small files of 100 megapixels, twenty at a time: they are decoded one by one."""
    from tests.helpers import damaged

    row = bytes(1) + bytes(10_000 * 3)
    picture = damaged.png(10_000, 10_000, row * 10_000)
    with ThreadPoolExecutor(20) as pool:
        status_counts = Counter(
            pool.map(lambda _n: server.request("/api/feedback?label=red", picture, wait=300)[0], range(20))
        )
    return [] if status_counts == {200: 20} else [f"20 of 100 megapixels: {dict(status_counts)}"]


def feedback_stays_inside(workspace: Workspace) -> Observation:
    """Try odd labels: nothing is written outside the feedback folder, nor without end."""
    from tests.helpers import fake_device_bundle

    folder = workspace.folder("labels")
    labels = [
        "../up", str(workspace.work / "absolute"), "..", ".", "a/b", "a\\..\\b", "x" * 300,
        "e\u0301", "\u00e9", "CON", " ", "red",
    ]  # fmt: skip
    faults, status_counts, request_count = [], Counter[int](), 0
    for number in range(0, len(labels), 5):
        some = [*labels[number : number + 5], "third"]
        bundle_copy = Path(shutil.copytree(make_bundle(workspace), folder / str(number)))
        fake_device_bundle.change(bundle_copy, lambda raw, some=some: raw.update(labels=some))
        with running_server(workspace, bundle_copy, f"labels-{number}") as server:
            for label in (*some, "unknown", "%2e%2e", "third/../../up", "nul\0l", "\u202e.."):
                status_counts[server.request(f"/api/feedback?label={_quoted(label)}", _photo())[0]] += 1
                request_count += 1
            faults += [f"it wrote {path}" for path in _files_outside(workspace, server)]
            faults += server.faults()
    if not status_counts[200] or not status_counts[422]:
        faults.append(f"answered {dict(status_counts)}")
    full = _full_folder(workspace)
    return Observation(
        f"{request_count} pictures under {len(labels)} labels: answered {dict(status_counts)}, "
        f"none outside; {full.summary}",
        (*faults, *full.shortfalls),
        files=request_count + full.files,
    )


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _files_outside(workspace: Workspace, server: PreviewServer) -> list[Path]:
    """Find images that lie neither in a bundle nor one folder below the feedback folder."""
    served = server.feedback.parent
    strays = [path for path in served.rglob("*.png") if path.parent.parent != server.feedback]
    strays += [path for path in workspace.work.glob("*.png")] + [path for path in served.parent.glob("up/*")]
    return strays + [path for path in (workspace.work / "absolute",) if path.exists()]


def _full_folder(workspace: Workspace) -> Observation:
    """Try a folder that holds its maximum, and one that is a file."""
    with running_server(workspace, make_bundle(workspace), "full") as server:
        (server.feedback / "red").mkdir(parents=True)
        with (server.feedback / "red" / "old.png").open("wb") as file:
            file.truncate(2 << 30)
        full, full_answer = server.request("/api/feedback?label=red", _photo())
        (server.feedback / "green").write_bytes(b"")
        (server.feedback / "red" / "old.png").unlink()
        file_, why = server.request("/api/feedback?label=green", _photo())
        shortfalls = [*server.faults()]
        if full != 422 or b"full" not in full_answer:
            shortfalls.append(f"a full folder: {full_answer[-100:]!r}")
        if file_ != 500 or b"is a regular file; expected a folder" not in why:
            shortfalls.append(f"a file in the label's place: {why[-100:]!r}")
    return Observation(
        "a full folder refuses, a file in a label's place is named", tuple(shortfalls), files=2
    )


def restarted(workspace: Workspace) -> Observation:
    """End the server with clients connected, and start it again on its port; a taken port is named."""
    folder, faults, times = workspace.folder("restart"), [], workspace.count(20, 3)
    server = start(workspace, make_bundle(workspace), folder)
    port = server.port
    for number in range(times):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHo")
            server.request()
            code = stop(server, (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)[number % 3])
            if number % 3 == 0 and code != 0:
                faults.append(f"SIGINT: exit {code}")
            try:
                server = start(workspace, make_bundle(workspace), folder, "--port", port)
            except RuntimeError as error:
                return Observation("", (*faults, f"restart {number}: {error}"), kills=number)
    refused = workspace.tledge("preview", make_bundle(workspace), "--no-browser", "--port", port, timeout=20)
    if refused.code != 1 or refused.crashed or f"--port {port}: cannot be used" not in refused.err:
        faults.append(f"a taken port: {refused.tail}")
    observation = observe_server(
        server, f"{times} times ended and at once back on its port; a taken one is named", faults, times
    )
    stop(server)
    return Observation(observation.summary, observation.shortfalls, kills=times, peak=observation.peak)


def models_of_a_run(workspace: Workspace) -> Observation:
    """Send pixels of wrong sizes, which are refused, and two hundred right ones at a time."""
    with running_server(workspace, workspace.run, "run") as server:
        side = json.loads((workspace.run / "run.json").read_text())["input"]["height"]
        faults = []
        for size in (0, 1, side * side * 3 - 1, side * side * 3 + 1, 1 << 20):
            if (got := server.request("/api/answers", bytes(size))[0]) != 400:
                faults.append(f"{size} bytes of pixels: {got}")
        with ThreadPoolExecutor(SIMULTANEOUS) as pool:
            answers = list(
                pool.map(
                    lambda _n: server.request("/api/answers", os.urandom(side * side * 3)),
                    range(SIMULTANEOUS),
                )
            )
        if Counter(code for code, _data in answers) != {200: SIMULTANEOUS}:
            faults.append(f"pixels: answered {dict(Counter(code for code, _data in answers))}")
        if any(b'"error": "M' in data or b'"probabilities": null' in data for _code, data in answers):
            faults.append("a model did not answer")
        return observe_server(
            server,
            f"{SIMULTANEOUS} at a time answered by all models, 5 sizes refused",
            faults,
            SIMULTANEOUS + 5,
            most=2500,
        )


CASES: tuple[Case, ...] = (
    Case("not reachable from outside", "on 127.0.0.1 alone; --lan with its key alone", local_addresses_only),
    Case("other names, other pages", "Host and Origin are its own", foreign_hosts_and_origins),
    Case("path traversal", "no file but those of page and bundle", path_traversal),
    Case("strange requests", "refused with one answer", strange_requests),
    Case("slow requests", "keep nobody out, and end", slow_requests),
    Case("200 at a time", "all are answered, memory is bounded", simultaneous_requests),
    Case("feedback", "nothing is written elsewhere, nor without end", feedback_stays_inside),
    Case("restart", "at once on the same port", restarted),
    Case("fuzzed requests", "it goes on, flat, and writes nothing", fuzzed_requests),
    Case("600 that say nothing", "its owner gets in within two seconds", silent_connections),
    Case("16 megapixels, many at a time", "memory does not grow with their number", large_photos_at_once),
    Case(
        "a phone far away", "a slow one gets the model, a stalled one is named", phone_far_away, reduced=False
    ),
    Case("another user of the machine", "nothing without the key, which no process shows", other_user),
    Case("feedback behind links", "nothing is written behind a link or for another", feedback_behind_links),
    Case("a run's models", "wrong sizes refused, 200 answered", models_of_a_run, reduced=False),
)
