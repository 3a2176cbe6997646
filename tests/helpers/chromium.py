"""Chromium for tests of the preview: pages that record requests and errors, films for its webcam."""

from __future__ import annotations

import atexit
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import system_packages
from tledge.bundle.reader import open_bundle
from tledge.preview import server
from tledge.preview.panel import Panel
from tledge.preview.site import Site

# Without the later ones Chromium calls home, which no test may need.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """A headless browser; skips where none is installed, and fails instead in CI."""
    system_packages.require("chromium")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    browser = driver().chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments])
    try:
        yield browser
    finally:
        browser.close()


@cache
def driver() -> Any:
    """Playwright's process, one for all tests of this process: a thread can have no second."""
    started = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    atexit.register(started.stop)
    return started


@dataclass
class Seen:
    """A page, and all that it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def wait(self, state: str = "ready") -> None:
        """Wait until the page says that it is in a state."""
        self.page.wait_for_selector(f'body[data-state="{state}"]', timeout=30_000)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def answer(self) -> NDArray[np.float32]:
        """The probabilities that the page computed last."""
        return np.array(self.page.evaluate("() => Array.from(tledge.probabilities)"), np.float32)

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """The pixels that its model saw last."""
        found = np.array(self.page.evaluate("() => Array.from(tledge.pixels)"), np.uint8)
        return found.reshape(height, width, 3)

    def choose(self, path: Path) -> None:
        """Choose a photo's file, and wait for the answer."""
        self.page.evaluate("() => { self.tledge = undefined; }")
        self.page.set_input_files("#file", path)
        self.settled()

    def settled(self) -> None:
        """Wait for an answer or a problem. (waitForFunction would need eval, which the page forbids.)"""
        for _ in range(600):
            if self.page.evaluate(
                "() => Boolean(self.tledge || document.getElementById('problem').textContent)"
            ):
                self.wait()
                return
            self.page.wait_for_timeout(25)
        pytest.fail("the page does not answer")


@contextmanager
def opened(browser: Any, url: str, before: str = "", **context: Any) -> Iterator[Seen]:
    """A page at `url`, after the script `before`; nothing may have been asked of another host."""
    made = browser.new_context(**context)
    made.add_init_script(before)
    seen = Seen(made.new_page())
    made.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda line: seen.errors.append(line.text) if line.type == "error" else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    try:
        seen.page.goto(url)
        yield seen
        home = re.split("[?#]", url, maxsplit=1)[0].rsplit("/", 1)[0]
        strange = [one for one in seen.requests if not one.startswith((home, "blob:", "data:"))]
        assert strange == []
    finally:
        made.close()


@contextmanager
def served(
    bundle: Path,
    run: Path | None = None,
    feedback: Path | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Iterator[str]:
    """A preview of a bundle, or of a run, on a free port; gives its address with the key."""
    site = Site(open_bundle(bundle), Panel(run) if run else None, feedback)
    with server.start(site, port=None, tell=tell) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.port}/#key={serving.key}"
        finally:
            serving.shutdown()
            thread.join()
            if site.panel:
                site.panel.close()


def film(path: Path, photos: list[Path], frames: int = 15, size: tuple[int, int] = (320, 240)) -> Path:
    """A YUV4MPEG2 film that shows each photo for some frames at 15 a second; a fake webcam repeats it."""
    width, height = size
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode())
        for photo in photos:
            with Image.open(photo) as opened:
                planes = np.asarray(opened.convert("RGB").resize(size).convert("YCbCr"))
            frame = planes[..., 0].tobytes() + b"".join(planes[::2, ::2, one].tobytes() for one in (1, 2))
            out.write((b"FRAME\n" + frame) * frames)
    return path
