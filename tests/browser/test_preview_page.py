"""The preview's page in Chromium: what a person does, what is answered, and said where it cannot be."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_device_bundle
from tests.helpers.chromium import FAKE_CAMERA, Seen, chromium, film, opened, served
from tests.helpers.deep_images import png16
from tests.helpers.fake_device_bundle import HEIGHT, WIDTH, change, change_byte
from tledge._io import files
from tledge.bundle import preview_page
from tledge.bundle.reader import open_bundle
from tledge.devices import projects
from tledge.inference import predictor as inference_predictor
from tledge.preprocessing.image import preprocess

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def made(shared_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with its page; do not change it."""
    bundle = Path(shutil.copytree(shared_bundle, tmp_path_factory.mktemp("page") / "bundle"))
    write_page(bundle)
    return bundle


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def seen(browser: Any, made: Path) -> Iterator[Seen]:
    """The page as the server hands it out, ready; at its end there is no error in the console."""
    with served(made) as url, opened(browser, url) as one:
        one.wait()
        yield one
        assert one.errors == []


def write_page(bundle: Path) -> Path:
    made = preview_page.of_folder(bundle, open_bundle(bundle).manifest)
    assert made is not None
    (bundle / preview_page.NAME).write_text(made, encoding="utf-8")
    fake_device_bundle.write_sums(bundle)
    return bundle / preview_page.NAME


def photos(bundle: Path) -> list[Path]:
    return [bundle / "golden" / case.photo for case in open_bundle(bundle).manifest.golden]


def predicted(bundle: Path, photo: Path, variant: str) -> np.ndarray[Any, Any]:
    """What `tledge predict` computes."""
    predictor = inference_predictor.open_predictor(bundle, variant)
    return predictor.session.run(preprocess(photo, predictor.size)[None])[0]


def transfer(seen: Seen, kind: str, photo: Path, name: str) -> None:
    """Paste or drop a file."""
    data = base64.b64encode(photo.read_bytes()).decode()
    seen.page.evaluate(
        """([kind, data, name]) => {
            self.tledge = undefined;
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: "image/png" }));
            const options = { bubbles: true, cancelable: true };
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: carried })
                : new DragEvent("drop", { ...options, dataTransfer: carried });
            document.getElementById("stage").dispatchEvent(event);
        }""",
        [kind, data, name],
    )
    seen.settled()


def holds(seen: Seen, bundle: Path, photo: Path, variant: str = "tflite-int8") -> None:
    """The page saw what tledge prepares and answers as it predicts: integers exactly, floats to 1e-5."""
    size = (HEIGHT, WIDTH)
    off = np.abs(seen.pixels(*size).astype(int) - preprocess(photo, size)).max()
    assert off <= 1, photo.name
    if off == 0:
        allowed = 0 if variant == "tflite-int8" else 1e-5
        assert np.abs(seen.answer() - predicted(bundle, photo, variant)).max() <= allowed, photo.name


@pytest.mark.parametrize("variant", ["tflite-int8", "tflite-fp32"])
def test_every_encoding_is_answered_as_tledge_does(seen: Seen, made: Path, variant: str) -> None:
    seen.page.select_option("#variants", variant)
    seen.page.wait_for_timeout(50)
    seen.wait()
    for photo in photos(made):
        seen.choose(photo)
        holds(seen, made, photo, variant)
    assert len(photos(made)) == 13


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pasted_and_dropped(seen: Seen, made: Path, kind: str) -> None:
    photo = photos(made)[1]
    transfer(seen, kind, photo, "green.png")
    holds(seen, made, photo)
    assert seen.text("#headline") == "green"
    assert seen.page.get_attribute("#stage", "data-shows") == "picture"


def test_bars_show_confidence_and_threshold(seen: Seen, made: Path) -> None:
    seen.choose(photos(made)[0])
    bars = seen.page.locator("#bars li")
    assert bars.count() == 3
    answer = predicted(made, photos(made)[0], "tflite-int8")
    assert bars.nth(0).locator(".share").get_attribute("title") == f"raw probability {float(answer.max())}"
    assert "40.0%" in seen.text("#below")
    style = "(one) => getComputedStyle(one).getPropertyValue('--threshold')"
    assert float(seen.page.eval_on_selector(".bar", style)) == 0.4


def test_classes_are_named_before_the_first_photo(seen: Seen, made: Path) -> None:
    assert seen.page.locator("#classes li").all_inner_texts() == ["red", "green", "blue"]
    seen.choose(photos(made)[0])
    assert seen.page.is_hidden("#classes") and seen.page.is_hidden("#truth")


def test_test_photos_show_label_and_mark(browser: Any, bundle: Path) -> None:
    """The second photo's recorded label is changed, so its prediction is wrong."""
    change(bundle, lambda raw: raw["golden"][1].update(label="blue"))
    with served(bundle) as url, opened(browser, url) as seen:
        seen.page.wait_for_selector("#examples li:last-child .mark:not(:empty)")
        names = seen.page.locator("#examples button").all_inner_texts()
        assert names[:2] == ["✓ red", "✗ blue"]
        for number, words in enumerate(("✓ correct", "✗ wrong, the label is blue")):
            seen.page.locator("#examples button").nth(number).click()
            seen.page.wait_for_selector(f"#truth:text-is('{words}')")


@pytest.mark.parametrize(
    ("facts", "badge"),
    [
        ({}, ""),
        ({"verdict": "undecided"}, "not verified"),
        (
            {
                "verdict": "undecided",
                "provisional": True,
                "independent_images": 36,
                "independent_agreement": 1,
            },
            "provisional",
        ),
    ],
)
def test_badge_beside_the_prediction(browser: Any, bundle: Path, facts: dict[str, Any], badge: str) -> None:
    own = write_page(bundle).read_text(encoding="utf-8")
    start = own.index('id="bundle">') + len('id="bundle">')
    raw, end = json.JSONDecoder().raw_decode(own, start)
    raw["manifest"]["artifacts"][0].update(facts)
    path = bundle / "page.html"
    path.write_text(own[:start] + json.dumps(raw).replace("<", r"\u003c") + own[end:], encoding="utf-8")
    with opened(browser, path.as_uri(), offline=True) as seen:
        seen.wait()
        seen.choose(photos(bundle)[0])
        assert seen.text("#standing") == badge if badge else seen.page.is_hidden("#standing")


def test_error_takes_the_prediction_away(seen: Seen, made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo")
    seen.choose(photos(made)[0])
    assert seen.page.locator("#bars li").count() == 3
    seen.page.set_input_files("#file", tmp_path / "notes.jpg")
    seen.page.wait_for_selector("#problem:not(:empty)")
    assert seen.text("#headline") == "No prediction" and seen.page.locator("#bars li").count() == 0
    assert seen.page.is_hidden("#figure") and seen.page.get_attribute("#stage", "data-shows") == ""


def test_console_is_clean(browser: Any, made: Path) -> None:
    """No warning, and no file that is missing."""
    with served(made) as url:
        context = browser.new_context()
        page, said = context.new_page(), []
        page.on("console", lambda line: said.append(line.text) if line.type in ("warning", "error") else None)
        page.on("response", lambda reply: said.append(reply.url) if reply.status >= 400 else None)
        page.goto(url)
        page.wait_for_selector('body[data-state="ready"]', timeout=30_000)
        page.set_input_files("#file", photos(made)[0])
        page.wait_for_selector("#answer.answered")
        assert said == []
        context.close()


def test_unsure_answers_say_so(browser: Any, bundle: Path) -> None:
    change(bundle, lambda raw: raw["confidence"].update(temperature=10, threshold=0.9999))
    with served(bundle) as url, opened(browser, url) as seen:
        seen.wait()
        seen.choose(photos(bundle)[0])
        assert seen.text("#headline") == "Unsure"
        assert "Perhaps red" in seen.page.inner_text("#said")


def test_history_and_examples_by_keyboard(seen: Seen, made: Path) -> None:
    """Everything can be reached and used without a mouse."""
    names = ["file", "toggle"]
    for _ in range(30):
        seen.page.keyboard.press("Tab")
        focused = seen.page.evaluate(
            "() => [document.activeElement.id, document.activeElement.getAttribute('aria-label')]"
        )
        names.append(focused[0])
        if (focused[1] or "").startswith("Test photo: green"):
            break
    else:
        pytest.fail(f"no example can be reached: {names}")
    seen.page.keyboard.press("Enter")
    seen.settled()
    assert seen.text("#headline") == "green"
    seen.choose(photos(made)[0])
    past = seen.page.locator("#history button")
    assert past.count() == 2
    past.nth(1).focus()
    seen.page.evaluate("() => { self.tledge = undefined; }")
    seen.page.keyboard.press("Enter")
    seen.settled()
    assert seen.text("#headline") == "green" and past.count() == 2


def test_single_file_without_network(browser: Any, made: Path, tmp_path: Path) -> None:
    """A double click on preview.html, alone in a folder, offline."""
    alone = Path(shutil.copy(made / preview_page.NAME, tmp_path / "mail attachment.html"))
    with opened(browser, alone.as_uri(), offline=True) as seen:
        seen.wait()
        for photo in photos(made):
            seen.choose(photo)
            holds(seen, made, photo)
        assert "No photo leaves it" in seen.text("footer")
        assert seen.errors == []


def test_single_file_on_a_phone(browser: Any, made: Path) -> None:
    with opened(browser, (made / preview_page.NAME).as_uri(), offline=True, **PHONE) as seen:
        seen.wait()
        seen.page.locator("#examples button").first.tap()
        seen.settled()
        holds(seen, made, photos(made)[0])
        assert seen.page.evaluate("() => document.documentElement.scrollWidth") <= 360
        assert seen.page.is_visible("text=Take a photo")
        assert seen.errors == []


@pytest.fixture(scope="module")
def filming(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose webcam shows a red and a green golden photo in turn."""
    path = film(tmp_path_factory.mktemp("film") / "cam.y4m", photos(made)[:2])
    with chromium(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={path}") as started:
        yield started


def test_webcam_is_followed(filming: Any, made: Path) -> None:
    with served(made) as url, opened(filming, url) as seen:
        seen.wait()
        seen.page.click("#toggle")
        for _round in range(2):
            for label in ("red", "green"):
                seen.page.wait_for_selector(f"#headline:text-is('{label}')", timeout=15_000)
        assert re.fullmatch(r"\d+ fps · preprocessing [\d.]+ ms · inference [\d.]+ ms", seen.text("#speed"))
        seen.page.evaluate("() => { self.tledge = undefined; }")
        seen.page.click("#keep")
        seen.settled()
        assert seen.text("#headline") in ("red", "green")
        assert seen.page.text_content("#toggle") == "Start webcam"
        assert seen.page.locator("#history li").count() == 1
        assert seen.errors == []


def test_webcam_works_in_the_single_file(filming: Any, made: Path) -> None:
    with opened(filming, (made / preview_page.NAME).as_uri(), offline=True) as seen:
        seen.wait()
        seen.page.click("#toggle")
        for label in ("red", "green"):
            seen.page.wait_for_selector(f"#headline:text-is('{label}')", timeout=15_000)
        seen.page.click("#toggle")
        assert seen.page.evaluate("() => document.getElementById('video').srcObject") is None
        assert seen.errors == []


def test_no_webcam(seen: Seen) -> None:
    seen.page.click("#toggle")
    seen.page.wait_for_selector("#problem:not(:empty)")
    assert "No webcam was found" in seen.text("#problem")


def test_webcam_refused(made: Path) -> None:
    with (
        chromium("--use-fake-device-for-media-stream") as browser,
        served(made) as url,
        opened(browser, url) as seen,
    ):
        seen.wait()
        seen.page.click("#toggle")
        seen.page.wait_for_selector("#problem:not(:empty)")
        assert "was denied" in seen.text("#problem")
        seen.choose(photos(made)[0])  # and the page goes on
        assert seen.text("#headline") == "red" and seen.text("#problem") == ""


def test_unsupported_file(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo")
    seen.choose(tmp_path / "notes.jpg")
    assert seen.text("#problem") == "notes.jpg cannot be read here as a photo. Try a JPEG, PNG or WebP file."


def test_pixels_of_unknown_range_are_refused(seen: Seen, tmp_path: Path) -> None:
    deep = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    (tmp_path / "deep.png").write_bytes(png16(deep))
    seen.choose(tmp_path / "deep.png")
    assert seen.text("#problem").startswith("deep.png has pixels of 16 bits, and which values")


def test_no_webassembly(browser: Any, made: Path) -> None:
    with opened(browser, (made / preview_page.NAME).as_uri(), "delete self.WebAssembly") as seen:
        seen.wait("failed")
        assert "cannot run WebAssembly" in seen.text("#problem")


@pytest.mark.parametrize("single", [True, False])
def test_damaged_model(browser: Any, bundle: Path, single: bool) -> None:
    change_byte(bundle / "tflite-int8.tflite")
    url = write_page(bundle).as_uri()
    with served(bundle) as address, opened(browser, url if single else address) as seen:
        seen.wait("failed")
        assert "The model file is damaged" in seen.text("#problem")


def test_model_that_is_none(browser: Any, bundle: Path) -> None:
    """Not even the hash helps where a file was exported wrongly: LiteRT refuses it."""
    path = bundle / "tflite-int8.tflite"
    path.write_bytes(b"\0\0\0\0TFL3" + bytes(200))

    def rehash(raw: dict[str, Any]) -> None:
        raw["artifacts"][1].update(sha256=files.sha256(path), bytes=208)

    change(bundle, rehash)
    with opened(browser, write_page(bundle).as_uri()) as seen:
        seen.wait("failed")
        assert "The model file is damaged" in seen.text("#problem")


def test_bundle_of_the_future(browser: Any, bundle: Path, tmp_path: Path) -> None:
    project = projects.fill("web", bundle, tmp_path / "web").folder
    change(project / "bundle", lambda raw: raw.update(manifest_version=2))
    with static(project) as url, opened(browser, url) as seen:
        seen.wait("failed")
        assert "made by a newer tledge" in seen.text("#problem")


class static:
    """The standard library's own server of files, as the project's README has it."""

    def __init__(self, folder: Path) -> None:
        from functools import partial
        from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
        from threading import Thread

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.thread = Thread(target=self.server.serve_forever)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def self_test(browser: Any, project: Path) -> tuple[str, str]:
    """The verdict and the lines of the self-test of a project of the target `web`."""
    with static(project) as url, opened(browser, f"{url}?self-test") as seen:
        seen.page.wait_for_selector("body[data-self-test], body[data-state=failed]", timeout=60_000)
        failed = seen.page.get_attribute("body", "data-state") == "failed"
        if failed:
            return "failed", seen.text("#problem")
        return str(seen.page.get_attribute("body", "data-self-test")), seen.text("#checks")


def test_static_site_proves_itself(browser: Any, made: Path, tmp_path: Path) -> None:
    project = projects.fill("web", made, tmp_path / "web").folder
    verdict, lines = self_test(browser, project)
    assert verdict == "passed", lines
    assert "golden photos: 13" in lines and "tflite-fp32: agrees with Keras on 13 of 13" in lines
    assert "changed: none" in lines


FAULTS = {
    "one byte of a model": lambda bundle: change_byte(bundle / "tflite-fp32.tflite"),
    "a label": lambda bundle: (bundle / "labels.txt").write_text("red\nblue\ngreen\n"),
    "a golden photo": lambda bundle: change_byte(bundle / "golden" / "00.png"),
    "labels of the manifest": lambda bundle: change(
        bundle, lambda raw: raw.update(labels=["blue", "green", "red"])
    ),
    "an answer": lambda bundle: _shift(bundle, "golden/tflite-int8.xnnpack.npy"),
    "pixels": lambda bundle: _shift(bundle, "golden/pixels.npy"),
}


def _shift(bundle: Path, name: str) -> None:
    values = np.load(bundle / name)
    np.save(bundle / name, np.roll(values, 1, axis=0))
    fake_device_bundle.write_sums(bundle)


@pytest.mark.parametrize("fault", FAULTS)
def test_self_test_finds(browser: Any, bundle: Path, tmp_path: Path, fault: str) -> None:
    project = projects.fill("web", bundle, tmp_path / "web").folder
    FAULTS[fault](project / "bundle")
    verdict, lines = self_test(browser, project)
    assert verdict == "failed"
    assert "WRONG" in lines or "damaged" in lines


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("when", ["idle", "answered", "problem"])
def test_no_serious_accessibility_fault(
    browser: Any, made: Path, tmp_path: Path, colours: str, when: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (tmp_path / "notes.jpg").write_text("no photo")
    with served(made) as url, opened(browser, url, color_scheme=colours) as seen:
        seen.wait()
        if when != "idle":
            seen.choose(photos(made)[0] if when == "answered" else tmp_path / "notes.jpg")
        found = axe.run(seen.page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(found, indent=1)[:3000]


def test_accessibility_fault_is_seen(browser: Any, made: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with served(made) as url, opened(browser, url) as seen:
        seen.wait()
        seen.page.evaluate("() => document.getElementById('toggle').textContent = ''")
        assert "button-name" in {one["id"] for one in axe.run(seen.page).response["violations"]}
