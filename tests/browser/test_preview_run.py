"""`tledge preview RUN`: other models beside the page, flips, and keeping pictures with their right label."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.chromium import Seen, chromium, opened, served
from tledge.bundle.reader import open_bundle
from tledge.metrics import abstention
from tledge.preprocessing import image
from tledge.preview.panel import KERAS, Panel
from tledge.run import golden_set
from tledge.visualization.text_format import percent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, with one flip made up where it has none."""
    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("preview") / "small"))


@pytest.fixture(scope="module")
def panel(run: Path) -> Iterator[Panel]:
    made = Panel(run)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def seen(browser: Any, run: Path, tmp_path: Path) -> Iterator[Seen]:
    """The page of a run, ready; kept pictures go to the test's own folder."""
    with served(run / "bundle", run, tmp_path / "kept") as url, opened(browser, url) as one:
        one.wait()
        yield one
        assert one.errors == []


def photo(run: Path, number: int = 0) -> Path:
    return run / "bundle" / "golden" / open_bundle(run / "bundle").manifest.golden[number].photo


def settled(seen: Seen) -> None:
    """Wait for the other models; Keras takes seconds at first."""
    seen.page.wait_for_selector("#sides-rows tr", timeout=120_000)


def test_panel_answers_as_recorded(panel: Panel, run: Path) -> None:
    """Keras as in the golden set, artifacts as in the bundle, on the golden pixels."""
    assert panel.names == (KERAS, "tflite-fp32", "tflite-int8", "onnx-fp32")
    reference = golden_set.load(run / "golden.npz")
    found = {one.model: one for one in panel.predict(reference.images[3])}
    assert all(one.error == "" and one.milliseconds > 0 for one in found.values())
    off = {
        name: np.abs(np.array(one.probabilities) - reference.probabilities[3]).max()
        for name, one in found.items()
    }
    assert off[KERAS] <= 1e-5 and off["tflite-fp32"] <= 1e-4 and off["onnx-fp32"] <= 1e-4
    assert 0 < off["tflite-int8"] < 0.5


def test_model_that_does_not_open_says_why(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "small"))
    (own / "artifacts" / "onnx-fp32.onnx").write_bytes(b"none")
    made = Panel(own)
    found = {one.model: one for one in made.predict(np.zeros((48, 48, 3), np.uint8))}
    made.close()
    assert found["onnx-fp32"].probabilities is None and "onnx" in found["onnx-fp32"].error
    assert found[KERAS].probabilities is not None


def test_side_by_side(seen: Seen, run: Path, panel: Panel) -> None:
    seen.choose(photo(run))
    settled(seen)
    shown = {
        row.get_attribute("data-model"): row.inner_text().split("\t")
        for row in seen.page.locator("#sides-rows tr").all()
    }
    assert list(shown) == [*panel.names, "this page (tflite-int8)"]
    manifest = open_bundle(run / "bundle").manifest
    labels = manifest.labels
    for one in panel.predict(image.preprocess(photo(run), (48, 48))):
        assert one.probabilities is not None
        best = int(np.argmax(one.probabilities))
        assert shown[one.model][1] == labels[best]
        raw = np.array(one.probabilities, np.float32)
        assert manifest.confidence and abs(manifest.confidence.temperature - 1) > 0.01
        confidence = abstention.confidences(raw, manifest.confidence)[best]
        assert shown[one.model][2] == percent(float(confidence))
    int8 = next(
        one for one in panel.predict(image.preprocess(photo(run), (48, 48))) if one.model == "tflite-int8"
    )
    assert np.array_equal(seen.answer(), np.array(int8.probabilities, np.float32))


def test_disagreement_is_marked(seen: Seen, run: Path) -> None:
    """On a flip of the test photos, the artifact's row differs from Keras'."""
    listed = json.loads((run / "evidence" / "tflite-int8-flips.json").read_text())["flips"]
    seen.page.wait_for_selector("#flips-list button")
    flips = seen.page.locator("#flips-list button")
    assert flips.count() == len(listed) > 0
    flips.first.click()
    settled(seen)
    differs = seen.page.locator("#sides-rows tr.differs")
    assert {row.get_attribute("data-model") for row in differs.all()} == {
        "tflite-int8",
        "this page (tflite-int8)",
    }
    assert "2 of 5 models predict another class than Keras" in seen.text("#sides-verdict")
    first = listed[0]
    assert f"Label: {first['label']}" in flips.first.inner_text()
    for model, predicted in (("Keras", first["keras"]), ("tflite-int8", first["artifact"])):
        mark = "✓" if predicted == first["label"] else "✗"
        assert f"{mark} {model}: {predicted}" in flips.first.inner_text()
    assert seen.text("#truth").startswith("✓" if first["artifact"] == first["label"] else "✗")


def test_picture_is_kept_once_agreed(seen: Seen, run: Path, tmp_path: Path) -> None:
    seen.choose(photo(run))
    settled(seen)
    button = "#labels button:text-is('scissors')"
    assert seen.page.locator("#labels button").all_inner_texts() == ["paper", "rock", "scissors"]
    seen.page.click(button)
    seen.page.wait_for_selector("#consent[open]")
    assert str(tmp_path / "kept") in seen.text("#consent-text")
    seen.page.click("#consent button[value=no]")
    assert not (tmp_path / "kept").exists()
    seen.page.click(button)
    seen.page.click("#consent button[value=yes]")
    seen.page.wait_for_selector("#kept:not(:empty)")
    (kept,) = (tmp_path / "kept" / "scissors").iterdir()
    assert kept.read_bytes() == photo(run).read_bytes() and str(kept) in seen.text("#kept")
    assert seen.page.is_disabled(button), "a photo has one label"


def test_no_serious_accessibility_fault(seen: Seen, run: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    seen.choose(photo(run))
    settled(seen)
    found = axe.run(seen.page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_every_bundle_carries_the_page(run: Path, browser: Any) -> None:
    bundle = run / "bundle"
    assert "preview.html" in (bundle / "SHA256SUMS").read_text()
    with opened(browser, (bundle / "preview.html").as_uri(), offline=True) as seen:
        seen.wait()
        seen.choose(photo(run))
        recorded = np.load(bundle / "golden" / "tflite-int8.xnnpack.npy")
        off = np.abs(seen.pixels(48, 48).astype(int) - np.load(bundle / "golden" / "pixels.npy")[0]).max()
        assert off <= 1 and np.abs(seen.answer() - recorded[0]).max() <= (0 if off == 0 else 2.5 / 256)
        assert seen.errors == []
