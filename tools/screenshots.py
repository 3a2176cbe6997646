"""Pictures of preview and report for the documentation: screenshots.py RUN [--out docs/images]

Drives `tledge preview` on a run in headless Chromium, with its golden photos before a fake webcam, and opens
the run's report. Needs chromium and the dev extra.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests.helpers

from PIL import Image

from tests.helpers.chromium import FAKE_CAMERA, Seen, chromium, film, opened, served
from tledge.bundle.reader import open_bundle

DESKTOP = {"viewport": {"width": 1180, "height": 760}}
MOST_BYTES = 150 << 10
"""Bytes of a picture."""

PHONE = {
    "viewport": {"width": 390, "height": 780},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}


@contextmanager
def page(browser: Any, url: str, **context: Any) -> Iterator[Seen]:
    """Open the preview's page; no animation, so that screenshots repeat."""
    with opened(browser, url, reduced_motion="reduce", **context) as seen:
        seen.wait()
        yield seen


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    bundle = asked.run / "bundle"
    photos = [bundle / "golden" / one.photo for one in open_bundle(bundle).manifest.photos]
    with tempfile.TemporaryDirectory() as scratch, served(bundle, asked.run, asked.run / "feedback") as url:
        seen_by_camera = film(Path(scratch) / "cam.y4m", photos[:1], size=(640, 640))
        camera = (*FAKE_CAMERA, f"--use-file-for-fake-video-capture={seen_by_camera}")
        with chromium(*camera) as browser:
            shoot(browser, url, photos, asked.out, Path(scratch))
            shoot_report(browser, asked.run / "report.html", asked.out)
    for path in [*asked.out.glob("preview-*.png"), *asked.out.glob("report-*.png")]:
        shrink(path)


def shrink(path: Path) -> None:
    """Keep 256 colours, or fewer where the file is large: hardly a difference to see."""
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    for colours in (256, 128, 64):
        whole.quantize(colours).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return


def shoot(browser: Any, url: str, photos: list[Path], out: Path, scratch: Path) -> None:
    """Take the screenshots one after the other."""
    with page(browser, url, **DESKTOP) as seen:
        seen.page.screenshot(path=out / "preview-idle.png")
        seen.choose(photos[0])
        seen.page.wait_for_selector("#sides-rows tr", timeout=120_000)
        seen.page.screenshot(path=out / "preview-result.png")
        seen.choose(photos[1])
        seen.page.wait_for_timeout(300)
        seen.page.evaluate("() => document.getElementById('tries').scrollIntoView()")
        seen.page.screenshot(path=out / "preview-side-by-side.png")
        (scratch / "notes.txt").write_text("no photo")
        seen.choose(scratch / "notes.txt")
        seen.page.screenshot(path=out / "preview-error.png")
    with page(browser, url, **DESKTOP, color_scheme="dark") as seen:
        seen.page.click("#toggle")
        seen.page.wait_for_timeout(2500)
        seen.page.screenshot(path=out / "preview-webcam.png")
    with page(browser, url, **PHONE) as seen:
        seen.choose(photos[2])
        seen.page.screenshot(path=out / "preview-phone.png")


def shoot_report(browser: Any, report: Path, out: Path) -> None:
    """Take screenshots of the report: its top, wrong predictions, artifacts, and a phone in dark colours."""
    address = report.resolve().as_uri()
    with opened(browser, address, viewport={"width": 1280, "height": 1180}) as seen:
        seen.page.screenshot(path=out / "report-top.png")
        if seen.page.locator("#mistakes").count():
            seen.page.locator("#mistakes").screenshot(path=out / "report-wrong.png")
        seen.page.locator("#artifacts").screenshot(path=out / "report-artifacts.png")
    with opened(browser, address, **PHONE, color_scheme="dark") as seen:
        seen.page.screenshot(path=out / "report-phone.png")


if __name__ == "__main__":
    main()
