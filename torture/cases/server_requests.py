"""Requests to a started `tledge preview` that no browser sends: in pieces, slowly, changed at random."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from torture.support.observation import Observation
from torture.support.preview_server import SECRET, PreviewServer, observe_server, running_server, status
from torture.support.untrained_bundle import make_bundle
from torture.support.workspace import Workspace


def strange_requests(workspace: Workspace) -> Observation:
    """Send requests that are too large, contradictory or no request: each is refused with one reply."""
    with running_server(workspace, make_bundle(workspace), "strange") as server:
        faults = []
        requests = dict(_strange(server))
        for name, (data, codes) in requests.items():
            answer = server.send(data, finish=name != "too large, told")
            if status(answer) not in codes or answer.count(b"HTTP/1.1 ") > 1 or SECRET in answer:
                faults.append(f"{name}: {answer[:60]!r}")
            if b"\r\nInjected:" in answer or b"\nInjected:" in answer.partition(b"\r\n\r\n")[0]:
                faults.append(f"{name}: a header came in")
        faults += _missing_headers(server)
        return observe_server(
            server, f"{len(requests)} requests refused, no second answer to any", faults, len(requests)
        )


RequestAndStatuses = tuple[str, tuple[bytes, set[int]]]
"""A name, the raw bytes of a request, and the statuses that it may get; 0 is the connection closed."""


def _strange(server: PreviewServer) -> Iterator[RequestAndStatuses]:
    """Yield every strange request, each with the key."""
    head = _named(server).encode()
    yield from _strange_bodies(head)
    yield from _strange_first_lines(head)
    yield from _strange_headers(head)
    yield from _injected_lines(head)
    for name, data in NO_REQUESTS.items():
        yield name, (data, {0, 400, 414, 501, 505})


def _named(server: PreviewServer) -> str:
    """Build the lines that every request to the server needs."""
    return f"Host: {server.host}\r\nAuthorization: Bearer {server.key}\r\n"


LENGTHS = (b"-1", b"+5", b"0x10", b"1e3", b" ", b"5 5", b"99999999999999999999", "٣".encode(), b"1_0")
"""Values of Content-Length that are no length."""


def _strange_bodies(head: bytes) -> Iterator[RequestAndStatuses]:
    """Yield requests whose lengths and bodies contradict one another."""
    post = b"POST /api/feedback?label=red HTTP/1.1\r\n" + head
    inner = b"GET /bundle/manifest.json HTTP/1.1\r\n" + head + b"\r\n"
    yield "too large, told", (post + b"Content-Length: 99999999999\r\n\r\n", {413})
    yield "just too large", (post + b"Content-Length: 33554433\r\n\r\n", {413})
    for length in LENGTHS:
        yield f"length {length!r}", (post + b"Content-Length: " + length + b"\r\n\r\nabcde", {400, 411})
    yield "no length", (post + b"\r\nabc", {411})
    yield "two lengths", (post + b"Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc" + inner, {400})
    yield "chunked", (post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n" + inner, {400})
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield "chunked and a length", (post + both + inner, {400})
    yield "chunked, disguised", (post + both.replace(b"Encoding:", b"Encoding :") + inner, {400, 422})
    yield "body of a GET", (b"GET / HTTP/1.1\r\n" + head + b"Content-Length: 30\r\n\r\n" + inner, {400})
    yield "body short", (post + b"Content-Length: 500\r\n\r\nabc", {400})


METHODS = (b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"get", b"X" * 5000, b"do_GET")


def _strange_first_lines(head: bytes) -> Iterator[RequestAndStatuses]:
    """Yield requests of other versions of HTTP, and with methods that the server does not have."""
    yield "HTTP/0.9", (b"GET /bundle/manifest.json\r\n" + head + b"\r\n", {0})
    for version in (b"HTTP/2.0", b"HTTP/9", b"HTTP/1.10000000000", b"HTTP/", b"ICY"):
        yield f"version {version!r}", (b"GET / " + version + b"\r\n" + head + b"\r\n", {0, 400, 505})
    for method in METHODS:
        yield f"method {method[:9]!r}", (method + b" / HTTP/1.1\r\n" + head + b"\r\n", {501})
    yield "a long line", (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + head + b"\r\n", {0, 414})


def _strange_headers(head: bytes) -> Iterator[RequestAndStatuses]:
    """Yield requests with too many, too long, unfinished or unreadable headers."""
    get = b"GET / HTTP/1.1\r\n" + head
    yield "two keys", (get + b"Authorization: Bearer x\r\n\r\n", {400})
    yield "many headers", (get + b"X: y\r\n" * 5000 + b"\r\n", {431})
    yield "a long header", (get + b"X: " + b"y" * 500_000 + b"\r\n\r\n", {431})
    yield "a long name", (get + b"y" * 60_000 + b"\r\n\r\n", {200, 400, 421, 431})
    yield "headers without end", (get + b"X: y\r\n" * 50, {0, 200, 400})
    yield "cookie of noise", (get + b'Cookie: \xff;=;"\0\r\n\r\n', {200, 400})


INJECTING_PATHS = (
    b"/x%0d%0aInjected:%20y", b"/bundle/x%0aInjected:y", b"/x\rInjected:y", b"/?label=%0d%0aInjected:y",
)  # fmt: skip


def _injected_lines(head: bytes) -> Iterator[RequestAndStatuses]:
    """Yield requests with line ends in the path or the label, which could add a header to the reply."""
    for path in INJECTING_PATHS:
        yield f"lines in {path!r}", (b"GET " + path + b" HTTP/1.1\r\n" + head + b"\r\n", {200, 400, 404})
    post = b"POST /api/feedback?label=red%0d%0aInjected:y HTTP/1.1\r\n"
    yield "lines in a label", (post + head + b"Content-Length: 1\r\n\r\nx", {422})


NO_REQUESTS = {
    "nothing": b"",
    "lines": b"\r\n" * 100,
    "zeros": bytes(70_000),
    "noise": bytes(range(256)) * 40,
    "a handshake": b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03" + bytes(500),
    "SSH": b"SSH-2.0-x\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space": b" \r\n\r\n",
}


def _missing_headers(server: PreviewServer) -> list[str]:
    """List replies of every kind without the headers that keep a browser from guessing and framing."""
    wanted = (b"X-Content-Type-Options: nosniff", b"X-Frame-Options: DENY", b"Cross-Origin-Resource-Policy")
    kinds = {"page": "/", "file": "/page.js", "bundle": "/bundle/README.md", "nothing": "/nothing"}
    answers = {name: server.request(path)[1] for name, path in kinds.items()}
    answers["a wrong method"] = server.send(f"PUT / HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    faults = [
        f"{name}: lacks {line!r}" for name, data in answers.items() for line in wanted if line not in data
    ]
    if b"Content-Security-Policy: sandbox" not in answers["bundle"]:
        faults.append("a file of the bundle is not confined")
    if b"Content-Security-Policy" not in answers["page"]:
        faults.append("the page has no policy")
    return faults


def slow_requests(workspace: Workspace) -> Observation:
    """Open connections that send nothing, or a byte a second: they do not keep others out."""
    with running_server(workspace, make_bundle(workspace), "slow") as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _number in range(50)]
        drips = [socket.create_connection(("127.0.0.1", server.port)) for _number in range(50)]
        body_head = f"POST /api/feedback?label=red HTTP/1.1\r\n{_named(server)}"
        heads = [b"GET / HTTP/1.1\r\nX-A: ", f"{body_head}Content-Length: 33000000\r\n\r\n".encode()]
        for number, drip in enumerate(drips):
            drip.sendall(heads[number % 5 == 0])
        times, began, limit = [], time.monotonic(), workspace.count(30, 3)
        while time.monotonic() - began < limit:
            _drip(drips)
            sent_at = time.monotonic()
            if server.request("/bundle/manifest.json")[0] == 200:
                times.append(time.monotonic() - sent_at)
            time.sleep(0.5)
        faults = [] if times and max(times) < 2 else [f"a good client waited {max(times, default=0):.1f} s"]
        closed = sum(map(_is_closed, [*idle, *(drip for n, drip in enumerate(drips) if n % 5)]))
        if not workspace.reduced and closed < 90:
            faults.append(f"only {closed} of 90 slow clients were closed after {limit} s")
        for connection in (*idle, *drips):
            connection.close()
        time.sleep(0.5)
        if server.status_figure("Threads") > 20:
            faults.append(f"{server.status_figure('Threads')} threads stay")
        summary = (
            f"50 idle and 50 dripping: {len(times)} good requests beside them, the slowest "
            f"{max(times, default=0):.2f} s; {closed} of 90 closed after {limit} s"
        )
        return observe_server(server, summary, faults, 100 + len(times))


def _drip(drips: list[socket.socket]) -> None:
    for drip in drips:
        try:
            drip.send(b"a")
        except OSError:
            continue


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _templates(server: PreviewServer) -> list[bytes]:
    """Build whole requests to change; none of them carries an image."""
    head = _named(server).encode()
    lines = [
        b"GET / HTTP/1.1", b"GET /bundle/manifest.json HTTP/1.1", b"HEAD /page.js HTTP/1.0",
        b"GET /bundle/golden/00.png?key=a&label=b HTTP/1.1", b"GET /api/flips/3.png HTTP/1.1",
    ]  # fmt: skip
    extra = b"Origin: http://" + server.host.encode() + b"\r\nCookie: key=abc; x=y\r\nAccept: */*\r\n"
    requests = [line + b"\r\n" + head + extra + b"\r\n" for line in lines]
    for path in (b"/api/answers", b"/api/feedback?label=red", b"/api/feedback?label=%2e%2e"):
        requests.append(
            b"POST "
            + path
            + b" HTTP/1.1\r\n"
            + head
            + extra
            + b"Content-Length: 20\r\n\r\n"
            + b"GIF89a"
            + bytes(14)
        )
    return requests


INSERTIONS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"HTTP/1.1", b"%00", b"%", b"%2e%2e%2f", b"../",
    b"\xff\xfe", b"Host: evil\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n", b"GET ", b"POST ", b"http://[", b"?key=",
    b";", b'"', b"\xc2\x85", b"A" * 3000,
)  # fmt: skip


def fuzzed_requests(workspace: Workspace) -> Observation:
    """Send changed and random requests by the thousand: memory stays flat, nothing is written."""
    rng, count, status_counts = workspace.rng("server fuzz"), workspace.count(5000, 300), Counter[int]()
    with running_server(workspace, make_bundle(workspace), "fuzz") as server:
        templates = _templates(server)
        before = _memory_after_warmup(server, templates)
        requests = [_mutated(rng, templates) for _number in range(count)]
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda data: server.send(data, wait=40), requests):
                status_counts[status(answer)] += 1
        time.sleep(0.5)
        grown = (server.status_figure("VmRSS") - before) / 1024
        faults = [f"{grown:.0f} MiB more than before"] if grown > 40 else []
        if server.status_figure("Threads") > 20:
            faults.append(f"{server.status_figure('Threads')} threads stay")
        if len(status_counts) < 5:
            faults.append(f"the requests are all alike: {dict(status_counts)}")
        statuses = ", ".join(f"{code or 'closed'} {number}" for code, number in status_counts.most_common())
        return observe_server(server, f"{count} requests ({statuses}); {grown:+.0f} MiB", faults, count)


def _memory_after_warmup(server: PreviewServer, templates: list[bytes]) -> int:
    """Measure the KiB that it holds once everything was asked for."""
    for data in templates * 10:
        server.send(data)
    return server.status_figure("VmRSS")


def _mutated(rng, templates: list[bytes]) -> bytes:  # type: ignore[no-untyped-def]
    """Change a request one to six times; one in twenty is noise."""
    if rng.random() < 0.05:
        return bytes(rng.randbytes(rng.choice((1, 10, 300, 70_000))))
    data = bytearray(rng.choice(templates))
    for _time in range(rng.randint(1, 6)):
        position = rng.randrange(len(data) + 1)
        change = rng.randrange(5)
        if change == 0:
            data[position : position + 1] = rng.randbytes(1)
        elif change == 1:
            data[position:position] = rng.choice(INSERTIONS)
        elif change == 2:
            del data[position : position + rng.choice((1, 5, 40))]
        elif change == 3:
            data[position:position] = data[position : position + 30] * rng.choice((1, 20))
        else:
            data += rng.choice(templates)[: rng.randrange(200)]
    return bytes(data)
