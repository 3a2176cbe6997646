"""Measure what the preview's page costs: `python -m benchmarks.preview_page BUNDLE [--seconds 10]`.

Opens the bundle's `preview.html` in headless Chromium, as a double click does, and measures its size, the
time from opening to the first answer, and with a webcam of 1280 x 720: pictures a second, the longest task
that held up the page, and how long a click waited. The aims were set for MobileNetV2 0.35 at 160 px.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import commit, describe
from tests.helpers.chromium import FAKE_CAMERA, chromium, film, opened
from tledge.bundle import preview_page
from tledge.bundle.reader import open_bundle

RESULT = Path(__file__).with_name("results") / "preview.json"
REPEATS = 5

WATCH_LONG_TASKS = """
self.tasks = [];
new PerformanceObserver((list) => self.tasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
"""
EVENT_DELAY = """() => new Promise((done) => {
    const asked = performance.now();
    setTimeout(() => done(performance.now() - asked));
})"""
"""How long another event waits for its turn."""

LIMITS = {
    "MiB": (6, "at most"),
    "seconds to the first answer": (2, "at most"),
    "pictures a second": (10, "at least"),
}


def first_answer(browser: Any, url: str, photo: Path) -> float:
    """Time from opening the page to the prediction on it; the photo is chosen at once."""
    with opened(browser, url) as opened_page:
        opened_page.page.set_input_files("#file", photo)
        opened_page.page.wait_for_selector("#answer.answered", timeout=60_000)
        return float(opened_page.page.evaluate("() => performance.now()")) / 1000


def filming(browser: Any, url: str, seconds: float) -> dict[str, float]:
    """Measure with the webcam on: the page's own figures, its long tasks, and what a click waits for."""
    with opened(browser, url, WATCH_LONG_TASKS) as opened_page:
        opened_page.wait()
        opened_page.page.click("#toggle")
        opened_page.page.wait_for_selector("#answer.answered", timeout=60_000)
        opened_page.page.wait_for_timeout(2000)
        opened_page.page.evaluate("() => { self.tasks.length = 0; }")
        waits = []
        for _ in range(int(seconds * 2)):
            opened_page.page.wait_for_timeout(500)
            waits.append(float(opened_page.page.evaluate(EVENT_DELAY)))
        tasks = opened_page.page.evaluate("() => self.tasks")
        return {
            "pictures a second": float(opened_page.page.evaluate("() => page.pace.rate")),
            "ms to prepare": float(opened_page.page.evaluate("() => page.pace.median('prepare')")),
            "ms to answer": float(opened_page.page.evaluate("() => page.pace.median('invoke')")),
            "longest task, ms (0: none above 50)": max(tasks, default=0.0),
            "median wait of another event, ms": median(waits),
        }


def measure(bundle: Path, seconds: float) -> dict[str, Any]:
    """Measure all figures of a bundle's page."""
    manifest, file = open_bundle(bundle).manifest, bundle / preview_page.NAME
    photos = [bundle / "golden" / case.photo for case in manifest.photos]
    with tempfile.TemporaryDirectory() as scratch:
        video = film(Path(scratch) / "cam.y4m", photos[:2], 30, (1280, 720))
        with chromium(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={video}") as browser:
            opening = [first_answer(browser, file.as_uri(), photos[0]) for _ in range(REPEATS)]
            filmed = filming(browser, file.as_uri(), seconds)
    chosen = preview_page.choose(manifest)
    assert chosen is not None
    return {
        "model": f"{manifest.name} {chosen.variant}, {manifest.input.width} px",
        "MiB": file.stat().st_size / (1 << 20),
        "seconds to the first answer": median(opening),
        **filmed,
    }


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    figures = measure(arguments.bundle, arguments.seconds)
    table = Table("figure", "measured", "wanted", title=figures["model"])
    for name, value in figures.items():
        if name != "model":
            limit, how = LIMITS.get(name, ("", ""))
            table.add_row(name, f"{value:.2f}", f"{how} {limit}".strip())
    Console(width=100).print(table)
    noted = {"commit": commit(RESULT.parent), "machine": describe(), **figures}
    RESULT.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
