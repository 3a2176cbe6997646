"""What the preview's page costs: python -m benchmarks.preview_page BUNDLE [--seconds 10]

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
from tests.chromium import FAKE_CAMERA, chromium, film, opened
from tledge import page
from tledge.reader import open_bundle

RESULT = Path(__file__).with_name("results") / "preview.json"
REPEATS = 5

WATCH = """
self.tasks = [];
new PerformanceObserver((list) => self.tasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
"""
TURN = """() => new Promise((done) => {
    const asked = performance.now();
    setTimeout(() => done(performance.now() - asked));
})"""
"""How long another event waits for its turn."""

AIMS = {
    "MiB": (6, "at most"),
    "seconds to the first answer": (2, "at most"),
    "pictures a second": (10, "at least"),
}


def first_answer(browser: Any, url: str, photo: Path) -> float:
    """Seconds from opening the page to the answer on it; the photo is chosen at once."""
    with opened(browser, url) as seen:
        seen.page.set_input_files("#file", photo)
        seen.page.wait_for_selector("#answer.answered", timeout=60_000)
        return float(seen.page.evaluate("() => performance.now()")) / 1000


def filming(browser: Any, url: str, seconds: float) -> dict[str, float]:
    """With the webcam on: the page's own figures, its long tasks, and what a click waits for."""
    with opened(browser, url, WATCH) as seen:
        seen.wait()
        seen.page.click("#toggle")
        seen.page.wait_for_selector("#answer.answered", timeout=60_000)
        seen.page.wait_for_timeout(2000)
        seen.page.evaluate("() => { self.tasks.length = 0; }")
        waits = []
        for _ in range(int(seconds * 2)):
            seen.page.wait_for_timeout(500)
            waits.append(float(seen.page.evaluate(TURN)))
        tasks = seen.page.evaluate("() => self.tasks")
        return {
            "pictures a second": float(seen.page.evaluate("() => page.pace.rate")),
            "ms to prepare": float(seen.page.evaluate("() => page.pace.median('prepare')")),
            "ms to answer": float(seen.page.evaluate("() => page.pace.median('invoke')")),
            "longest task, ms (0: none above 50)": max(tasks, default=0.0),
            "median wait of another event, ms": median(waits),
        }


def measured(bundle: Path, seconds: float) -> dict[str, Any]:
    """All figures of a bundle's page."""
    manifest, file = open_bundle(bundle).manifest, bundle / page.NAME
    photos = [bundle / "golden" / one.photo for one in manifest.photos]
    with tempfile.TemporaryDirectory() as scratch:
        seen = film(Path(scratch) / "cam.y4m", photos[:2], 30, (1280, 720))
        with chromium(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={seen}") as browser:
            opening = [first_answer(browser, file.as_uri(), photos[0]) for _ in range(REPEATS)]
            filmed = filming(browser, file.as_uri(), seconds)
    chosen = page.choose(manifest)
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
    asked = parser.parse_args()
    found = measured(asked.bundle, asked.seconds)
    table = Table("figure", "measured", "wanted", title=found["model"])
    for name, value in found.items():
        if name != "model":
            limit, how = AIMS.get(name, ("", ""))
            table.add_row(name, f"{value:.2f}", f"{how} {limit}".strip())
    Console(width=100).print(table)
    noted = {"commit": commit(RESULT.parent), "machine": describe(), **found}
    RESULT.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
