"""Attacks on a started `tledge preview`: whom it answers, what it hands out, holds and keeps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from case import Case, Seen
from ground import Ground
from photos import bundle
from serving import Serving, serving, start, status, stop

SECRET = b"what nobody may see"

PLENTY = 700
"""MiB that a server may take at its peak, photos of 100 megapixels aside."""

MANY = 200
"""Requests at a time that are all answered."""


def _photo(number: int = 0) -> bytes:
    import fake_device_bundle

    return fake_device_bundle.photo(number)


def _kept(one: Serving) -> list[Path]:
    return [path for path in one.feedback.rglob("*") if path.is_file()]


def _judged(
    one: Serving,
    said: str,
    wrong: Iterable[str],
    requests: int,
    *,
    most: float = PLENTY,
    may_keep: bool = False,
) -> Seen:
    """What was seen, once it is known that the server is as well as before."""
    short = [*wrong, *one.faults()]
    if one.peak > most:
        short.append(f"{one.peak:.0f} MiB at the peak, more than {most:.0f}")
    if not may_keep and one.feedback.exists():
        short.append(f"it wrote {_kept(one)}")
    crashes = int(one.process.poll() is not None)
    said = f"{said}; peak {one.peak:.0f} MiB, {one.figure('Threads')} threads left" if not crashes else said
    return Seen(said, tuple(short), files=requests, crashes=crashes, peak=one.peak)


def reachable_here_alone(ground: Ground) -> Seen:
    """Other addresses of this machine are not listened on; with --lan they are, and need the key."""
    from tledge.preview.server import lan_addresses

    others, wrong = ["127.0.0.2", *lan_addresses()], []
    with serving(ground, bundle(ground), "here") as one:
        if (found := _listens(one.port)) != {"127.0.0.1"}:
            wrong.append(f"it listens on {sorted(found)}")
        wrong += [f"it answers on {address}" for address in others if _connects(address, one.port)]
        seen = _judged(
            one, f"listens on 127.0.0.1 alone, {len(others)} other addresses refuse", wrong, len(others)
        )
    with serving(ground, bundle(ground), "lan", "--lan") as one:
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
        said = f"{seen.said}; --lan: {got.total()} without the right key refused"
        short = (*seen.short, *wrong, *(f"--lan: {fault}" for fault in _lan_faults(one)))
    return Seen(said, short, files=seen.files + got.total(), peak=seen.peak)


def _lan_faults(one: Serving) -> list[str]:
    return [] if one.process.poll() is None and "Traceback" not in one.said else [one.said]


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


def other_names_and_pages(ground: Ground) -> Seen:
    """DNS rebinding and orders of other pages."""
    with serving(ground, bundle(ground), "names") as one:
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
        return _judged(one, f"{tried} requests under other names or of other pages refused", wrong, tried)


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


def path_traversal(ground: Ground) -> Seen:
    """No path gives a file that is none of the bundle's or the page's; links out of the bundle neither."""
    folder = ground.folder("traversal")
    own = Path(shutil.copytree(bundle(ground), folder / "bundle"))
    (folder / "secret").write_bytes(SECRET)
    (own / "link.txt").symlink_to(folder / "secret")
    (own / "links").symlink_to(folder)
    (own / "loop").symlink_to("loop")
    with serving(ground, own, "traversal") as one:
        wrong, got = [], Counter[int]()
        for path in TRAVERSALS:
            code, answer = one.ask(path)
            got[code] += 1
            page = code == 200 and b"<title>tledge preview" in answer and path in ("?", "#", "/index.html/..")
            if (code not in (400, 404, 414, 422) and not page) or SECRET in answer or b"root:" in answer:
                wrong.append(f"{path[:60]}: {code}")
        return _judged(
            one, f"{len(TRAVERSALS)} paths: answered {dict(got)}, none with a file", wrong, len(TRAVERSALS)
        )


def strange_requests(ground: Ground) -> Seen:
    """Too large, too many, in two minds, of another time, or no request: one answer at most, and refused."""
    with serving(ground, bundle(ground), "strange") as one:
        wrong = []
        requests = dict(_strange(one.host))
        for name, (data, codes) in requests.items():
            answer = one.raw(data, finish=name != "too large, told")
            if status(answer) not in codes or answer.count(b"HTTP/1.1 ") > 1 or SECRET in answer:
                wrong.append(f"{name}: {answer[:60]!r}")
            if b"\r\nInjected:" in answer or b"\nInjected:" in answer.partition(b"\r\n\r\n")[0]:
                wrong.append(f"{name}: a header came in")
        wrong += _unguarded(one)
        return _judged(
            one, f"{len(requests)} requests refused, no second answer to any", wrong, len(requests)
        )


def _strange(host: str) -> Iterator[tuple[str, tuple[bytes, set[int]]]]:
    """Raw requests by name, with the statuses that they may have; 0 is the connection closed."""
    head = f"Host: {host}\r\n".encode()
    post = b"POST /api/feedback?label=red HTTP/1.1\r\n" + head
    inner = b"GET /bundle/manifest.json HTTP/1.1\r\n" + head + b"\r\n"
    yield "too large, told", (post + b"Content-Length: 99999999999\r\n\r\n", {413})
    yield "just too large", (post + b"Content-Length: 33554433\r\n\r\n", {413})
    for length in (
        b"-1",
        b"+5",
        b"0x10",
        b"1e3",
        b" ",
        b"5 5",
        b"99999999999999999999",
        "٣".encode(),
        b"1_0",
    ):
        yield f"length {length!r}", (post + b"Content-Length: " + length + b"\r\n\r\nabcde", {400, 411})
    yield "no length", (post + b"\r\nabc", {411})
    yield "two lengths", (post + b"Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc" + inner, {400})
    yield "chunked", (post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n" + inner, {400})
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield "chunked and a length", (post + both + inner, {400})
    yield "chunked, disguised", (post + both.replace(b"Encoding:", b"Encoding :") + inner, {400, 422})
    yield "body of a GET", (b"GET / HTTP/1.1\r\n" + head + b"Content-Length: 30\r\n\r\n" + inner, {400})
    yield "body short", (post + b"Content-Length: 500\r\n\r\nabc", {400})
    yield "HTTP/0.9", (b"GET /bundle/manifest.json\r\n" + head + b"\r\n", {0})
    for version in (b"HTTP/2.0", b"HTTP/9", b"HTTP/1.10000000000", b"HTTP/", b"ICY"):
        yield f"version {version!r}", (b"GET / " + version + b"\r\n" + head + b"\r\n", {0, 400, 505})
    for method in (
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"TRACE",
        b"CONNECT",
        b"PATCH",
        b"get",
        b"X" * 5000,
        b"do_GET",
    ):
        yield f"method {method[:9]!r}", (method + b" / HTTP/1.1\r\n" + head + b"\r\n", {501})
    yield "many headers", (b"GET / HTTP/1.1\r\n" + head + b"X: y\r\n" * 5000 + b"\r\n", {431})
    yield "a long header", (b"GET / HTTP/1.1\r\n" + head + b"X: " + b"y" * 500_000 + b"\r\n\r\n", {431})
    yield "a long line", (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + head + b"\r\n", {0, 414})
    yield "a long name", (b"GET / HTTP/1.1\r\n" + head + b"y" * 60_000 + b"\r\n\r\n", {200, 400, 421, 431})
    yield "headers without end", (b"GET / HTTP/1.1\r\n" + head + b"X: y\r\n" * 50, {0, 200, 400})
    for path in (
        b"/x%0d%0aInjected:%20y",
        b"/bundle/x%0aInjected:y",
        b"/x\rInjected:y",
        b"/?label=%0d%0aInjected:y",
    ):
        yield f"lines in {path!r}", (b"GET " + path + b" HTTP/1.1\r\n" + head + b"\r\n", {200, 400, 404})
    label = (
        b"POST /api/feedback?label=red%0d%0aInjected:y HTTP/1.1\r\n" + head + b"Content-Length: 1\r\n\r\nx"
    )
    yield "lines in a label", (label, {422})
    yield "cookie of noise", (b"GET / HTTP/1.1\r\n" + head + b'Cookie: \xff;=;"\0\r\n\r\n', {200, 400})
    for name, data in NO_REQUESTS.items():
        yield name, (data, {0, 400, 414, 501, 505})


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


def _unguarded(one: Serving) -> list[str]:
    """Answers of every kind without the headers that keep a browser from guessing and framing."""
    wanted = (b"X-Content-Type-Options: nosniff", b"X-Frame-Options: DENY", b"Cross-Origin-Resource-Policy")
    kinds = {"page": "/", "file": "/page.js", "bundle": "/bundle/README.md", "nothing": "/nothing"}
    answers = {name: one.ask(path)[1] for name, path in kinds.items()}
    answers["a wrong method"] = one.raw(f"PUT / HTTP/1.1\r\nHost: {one.host}\r\n\r\n".encode())
    found = [
        f"{name}: lacks {line!r}" for name, data in answers.items() for line in wanted if line not in data
    ]
    if b"Content-Security-Policy: sandbox" not in answers["bundle"]:
        found.append("a file of the bundle is not confined")
    if b"Content-Security-Policy" not in answers["page"]:
        found.append("the page has no policy")
    return found


def slow_requests(ground: Ground) -> Seen:
    """Connections that say nothing, or a byte a second, do not keep others out; they are closed in time."""
    with serving(ground, bundle(ground), "slow") as one:
        idle = [socket.create_connection(("127.0.0.1", one.port)) for _number in range(50)]
        drips = [socket.create_connection(("127.0.0.1", one.port)) for _number in range(50)]
        bodies = (
            f"POST /api/feedback?label=red HTTP/1.1\r\nHost: {one.host}\r\nContent-Length: 33000000\r\n\r\n"
        )
        heads = [b"GET / HTTP/1.1\r\nX-A: ", bodies.encode()]
        for number, drip in enumerate(drips):
            drip.sendall(heads[number % 5 == 0])
        times, began, limit = [], time.monotonic(), ground.count(30, 3)
        while time.monotonic() - began < limit:
            _drip(drips)
            asked = time.monotonic()
            if one.ask("/bundle/manifest.json")[0] == 200:
                times.append(time.monotonic() - asked)
            time.sleep(0.5)
        wrong = [] if times and max(times) < 2 else [f"a good client waited {max(times, default=0):.1f} s"]
        closed = sum(map(_is_closed, [*idle, *(drip for n, drip in enumerate(drips) if n % 5)]))
        if not ground.reduced and closed < 90:
            wrong.append(f"only {closed} of 90 slow clients were closed after {limit} s")
        for each in (*idle, *drips):
            each.close()
        time.sleep(0.5)
        if one.figure("Threads") > 20:
            wrong.append(f"{one.figure('Threads')} threads stay")
        said = (
            f"50 idle and 50 dripping: {len(times)} good requests beside them, the slowest "
            f"{max(times, default=0):.2f} s; {closed} of 90 closed after {limit} s"
        )
        return _judged(one, said, wrong, 100 + len(times))


def _drip(drips: list[socket.socket]) -> None:
    for drip in drips:
        try:
            drip.send(b"a")
        except OSError:
            continue


def _is_closed(one: socket.socket) -> bool:
    one.settimeout(0.01)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def many_at_once(ground: Ground) -> Seen:
    """Two hundred at a time: files, refusals, pictures to keep; all are answered, and memory is bounded."""
    with serving(ground, bundle(ground), "many") as one:
        wrong, told = [], []
        asked = {
            "the manifest": lambda _n: one.ask("/bundle/manifest.json")[0],
            "3 MB of the page": lambda _n: one.ask("/litert/litert.wasm.gz")[0],
            "pictures to keep": lambda n: one.ask("/api/feedback?label=red", _photo(n % 20))[0],
            "32 MB of no picture": lambda _n: one.ask("/api/feedback?label=red", bytes(32 << 20))[0],
        }
        expected = {"32 MB of no picture": 422}
        for name, work in asked.items():
            count = MANY if name != "32 MB of no picture" else ground.count(MANY, 40)
            with ThreadPoolExecutor(count) as pool:
                got = Counter(pool.map(work, range(count)))
            told.append(f"{name} {count}")
            if got != {expected.get(name, 200): count}:
                wrong.append(f"{name}: answered {dict(got)}")
        if len(_kept(one)) != 20:
            wrong.append(f"{len(_kept(one))} pictures kept, 20 were different")
        before = one.peak
        if not ground.reduced:
            wrong += _large_at_once(ground, one)
        said = f"at a time: {', '.join(told)}: all answered at {before:.0f} MiB"
        return _judged(one, said, wrong, MANY * 4, most=1500, may_keep=True)


def _large_at_once(ground: Ground, one: Serving) -> list[str]:
    """Small files of 100 megapixels, twenty at a time: decoded one by one."""
    import damaged

    row = bytes(1) + bytes(10_000 * 3)
    picture = damaged.png(10_000, 10_000, row * 10_000)
    with ThreadPoolExecutor(20) as pool:
        got = Counter(pool.map(lambda _n: one.ask("/api/feedback?label=red", picture)[0], range(20)))
    return [] if got == {200: 20} else [f"20 of 100 megapixels: {dict(got)}"]


def feedback_stays_inside(ground: Ground) -> Seen:
    """Whatever the bundle's labels are: nothing is written outside the feedback folder, nor without end."""
    import fake_device_bundle

    folder = ground.folder("labels")
    labels = [
        "../up", str(ground.work / "absolute"), "..", ".", "a/b", "a\\..\\b", "x" * 300,
        "e\u0301", "\u00e9", "CON", " ", "red",
    ]  # fmt: skip
    wrong, got, tried = [], Counter[int](), 0
    for number in range(0, len(labels), 5):
        some = [*labels[number : number + 5], "third"]
        own = Path(shutil.copytree(bundle(ground), folder / str(number)))
        fake_device_bundle.change(own, lambda raw, some=some: raw.update(labels=some))
        with serving(ground, own, f"labels-{number}") as one:
            for label in (*some, "unknown", "%2e%2e", "third/../../up", "nul\0l", "\u202e.."):
                got[one.ask(f"/api/feedback?label={_quoted(label)}", _photo())[0]] += 1
                tried += 1
            wrong += [f"it wrote {path}" for path in _strays(ground, one)]
            wrong += one.faults()
    if not got[200] or not got[422]:
        wrong.append(f"answered {dict(got)}")
    full = _full_folder(ground)
    return Seen(
        f"{tried} pictures under {len(labels)} labels: answered {dict(got)}, none outside; {full.said}",
        (*wrong, *full.short), files=tried + full.files,
    )  # fmt: skip


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _strays(ground: Ground, one: Serving) -> list[Path]:
    """Pictures that lie neither in a bundle nor one folder below the feedback folder."""
    served = one.feedback.parent
    found = [path for path in served.rglob("*.png") if path.parent.parent != one.feedback]
    found += [path for path in ground.work.glob("*.png")] + [path for path in served.parent.glob("up/*")]
    return found + [path for path in (ground.work / "absolute",) if path.exists()]


def _full_folder(ground: Ground) -> Seen:
    """A folder that holds its most, one that is a file, and a full disk where one can be had."""
    with serving(ground, bundle(ground), "full") as one:
        (one.feedback / "red").mkdir(parents=True)
        with (one.feedback / "red" / "old.png").open("wb") as file:
            file.truncate(2 << 30)
        full, said = one.ask("/api/feedback?label=red", _photo())
        (one.feedback / "green").write_bytes(b"")
        (one.feedback / "red" / "old.png").unlink()
        file_, why = one.ask("/api/feedback?label=green", _photo())
        short = [*one.faults()]
        if full != 422 or b"full" not in said:
            short.append(f"a full folder: {said[-100:]!r}")
        if file_ != 500 or b"cannot be written" not in why:
            short.append(f"a file in the label's place: {why[-100:]!r}")
    return Seen("a full folder refuses, a file in a label's place is named", tuple(short), files=2)


def restarted(ground: Ground) -> Seen:
    """Ended by signals with clients connected, it starts again on its port at once; a taken port is named."""
    folder, wrong, times = ground.folder("restart"), [], ground.count(20, 3)
    one = start(ground, bundle(ground), folder)
    port = one.port
    for number in range(times):
        with socket.create_connection(("127.0.0.1", port)) as left:
            left.sendall(b"GET / HTTP/1.1\r\nHo")
            one.ask()
            code = stop(one, (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)[number % 3])
            if number % 3 == 0 and code != 0:
                wrong.append(f"SIGINT: exit {code}")
            try:
                one = start(ground, bundle(ground), folder, "--port", port)
            except RuntimeError as error:
                return Seen("", (*wrong, f"restart {number}: {error}"), kills=number)
    taken = ground.tledge("preview", bundle(ground), "--no-browser", "--port", port, timeout=20)
    if taken.code != 1 or taken.crashed or f"--port {port}: cannot be had" not in taken.err:
        wrong.append(f"a taken port: {taken.tail}")
    seen = _judged(
        one, f"{times} times ended and at once back on its port; a taken one is named", wrong, times
    )
    stop(one)
    return Seen(seen.said, seen.short, kills=times, peak=seen.peak)


def _templates(host: str) -> list[bytes]:
    """Whole requests to change; none of them carries a picture."""
    head = f"Host: {host}\r\n".encode()
    lines = [
        b"GET / HTTP/1.1", b"GET /bundle/manifest.json HTTP/1.1", b"HEAD /page.js HTTP/1.0",
        b"GET /bundle/golden/00.png?key=a&label=b HTTP/1.1", b"GET /api/flips/3.png HTTP/1.1",
    ]  # fmt: skip
    extra = b"Origin: http://" + host.encode() + b"\r\nCookie: tledge_key=abc; x=y\r\nAccept: */*\r\n"
    made = [line + b"\r\n" + head + extra + b"\r\n" for line in lines]
    for path in (b"/api/answers", b"/api/feedback?label=red", b"/api/feedback?label=%2e%2e"):
        made.append(
            b"POST "
            + path
            + b" HTTP/1.1\r\n"
            + head
            + extra
            + b"Content-Length: 20\r\n\r\n"
            + b"GIF89a"
            + bytes(14)
        )
    return made


WORDS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"HTTP/1.1", b"%00", b"%", b"%2e%2e%2f", b"../",
    b"\xff\xfe", b"Host: evil\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n", b"GET ", b"POST ", b"http://[", b"?key=",
    b";", b'"', b"\xc2\x85", b"A" * 3000,
)  # fmt: skip


def fuzzed(ground: Ground) -> Seen:
    """Changed and random requests by the thousand: it goes on, flat, and writes nothing."""
    chance, count, got = ground.chance("server fuzz"), ground.count(5000, 300), Counter[int]()
    with serving(ground, bundle(ground), "fuzz") as one:
        templates = _templates(one.host)
        before = _warm(one, templates)
        requests = [_changed(chance, templates) for _number in range(count)]
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda data: one.raw(data, wait=40), requests):
                got[status(answer)] += 1
        time.sleep(0.5)
        grown = (one.figure("VmRSS") - before) / 1024
        wrong = [f"{grown:.0f} MiB more than before"] if grown > 40 else []
        if one.figure("Threads") > 20:
            wrong.append(f"{one.figure('Threads')} threads stay")
        if len(got) < 5:
            wrong.append(f"the requests are all alike: {dict(got)}")
        told = ", ".join(f"{code or 'closed'} {number}" for code, number in got.most_common())
        return _judged(one, f"{count} requests ({told}); {grown:+.0f} MiB", wrong, count)


def _warm(one: Serving, templates: list[bytes]) -> int:
    """KiB that it holds once everything was asked for."""
    for data in templates * 10:
        one.raw(data)
    return one.figure("VmRSS")


def _changed(chance, templates: list[bytes]) -> bytes:  # type: ignore[no-untyped-def]
    """A request with one to six changes; one in twenty is noise."""
    if chance.random() < 0.05:
        return bytes(chance.randbytes(chance.choice((1, 10, 300, 70_000))))
    data = bytearray(chance.choice(templates))
    for _time in range(chance.randint(1, 6)):
        place = chance.randrange(len(data) + 1)
        what = chance.randrange(5)
        if what == 0:
            data[place : place + 1] = chance.randbytes(1)
        elif what == 1:
            data[place:place] = chance.choice(WORDS)
        elif what == 2:
            del data[place : place + chance.choice((1, 5, 40))]
        elif what == 3:
            data[place:place] = data[place : place + 30] * chance.choice((1, 20))
        else:
            data += chance.choice(templates)[: chance.randrange(200)]
    return bytes(data)


def models_of_a_run(ground: Ground) -> Seen:
    """Pixels of wrong sizes are refused, two hundred right ones at a time answered alike by every model."""
    with serving(ground, ground.run, "run") as one:
        side = json.loads((ground.run / "run.json").read_text())["input"]["height"]
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
        return _judged(
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
