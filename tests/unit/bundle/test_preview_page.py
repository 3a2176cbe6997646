"""The page's files: what is vendored, the single file, and its policy."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle import preview_page
from tledge.bundle.manifest import Manifest
from tledge.bundle.reader import open_bundle

LITERT = preview_page.folder() / "litert"
TOOL = ROOT / "tools" / "litert_js"


@pytest.fixture
def manifest(shared_bundle: Path) -> Manifest:
    return open_bundle(shared_bundle).manifest


def test_vendored_files_are_those_that_were_checked() -> None:
    listed = dict(reversed(line.split("  ")) for line in (LITERT / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {path.name for path in LITERT.iterdir()} - {"SHA256SUMS", "README.md"}
    for name, sum_ in listed.items():
        assert hashlib.sha256((LITERT / name).read_bytes()).hexdigest() == sum_, name


def test_webassembly_is_the_published_file() -> None:
    """Its hash before packing stands in the README, with version and licence."""
    told = (LITERT / "README.md").read_text(encoding="utf-8")
    unpacked = gzip.decompress((LITERT / "litert.wasm.gz").read_bytes())
    assert hashlib.sha256(unpacked).hexdigest() in told
    version = json.loads((TOOL / "package.json").read_text())["dependencies"]["@litertjs/core"]
    assert f"`@litertjs/core` {version} (Apache-2.0" in told
    assert "Apache License" in (LITERT / "LICENSE").read_text()


def test_lock_file_has_hashes_and_no_address() -> None:
    text = (TOOL / "package-lock.json").read_text()
    packages = [one for name, one in json.loads(text)["packages"].items() if name]
    assert len(packages) > 3 and all(one["integrity"].startswith("sha512-") for one in packages)
    assert "http" not in text and "resolved" not in text


def test_page_asks_no_other_host() -> None:
    for path in preview_page.folder().glob("*.*"):
        found = re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
        assert [one for one in found if "localhost" not in one] == [], path.name


def test_same_variants_as_in_the_script() -> None:
    (listed,) = re.findall(r"const RUNNABLE = \[(.*?)\]", (preview_page.folder() / "model.js").read_text())
    assert tuple(json.loads(f"[{listed}]")) == preview_page.RUNNABLE
    assert (
        f"const KNOWN_MANIFEST = {bundle_manifest.MANIFEST_VERSION};"
        in (preview_page.folder() / "model.js").read_text()
    )


def test_texts_stand_in_one_place() -> None:
    """Every text that the page names is there, and none is there for nothing."""
    code = "".join(
        path.read_text()
        for path in [*preview_page.folder().glob("*.js"), preview_page.folder() / "index.html"]
    )
    defined = set(re.findall(r"^  (\w+): \"", (preview_page.folder() / "texts.js").read_text(), re.M))
    for name in defined:
        assert re.search(rf"[\"']{name}[\"']", code.replace(f"  {name}: ", "")), name
    named = set(re.findall(r"say\(\"(\w+)\"", code)) | set(re.findall(r"data-(?:text|label)=\"(\w+)\"", code))
    assert named <= defined


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_borders_and_texts_are_seen() -> None:
    """Borders of the drop zone and of buttons 3:1, texts 4.5:1, in both colour schemes."""
    css = (preview_page.folder() / "page.css").read_text()
    assert "border: 2px dashed var(--edge)" in css
    for scheme in re.findall(r":root \{(.*?)\}", css, re.S):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        for ground in (colours["ground"], colours["card"]):
            assert contrast(colours["edge"], ground) >= 3
            assert all(
                contrast(colours[name], ground) >= 4.5 for name in ("ink", "soft", "good", "bad", "warn")
            )


def test_single_file_is_whole(shared_bundle: Path, manifest: Manifest) -> None:
    made = preview_page.of_folder(shared_bundle, manifest)
    assert made is not None and made == preview_page.of_folder(shared_bundle, manifest)
    assert preview_page.HEAD not in made and preview_page.BUNDLE not in made
    assert not re.search(r'<(script|link|img)[^>]* (src|href)="(?!data:)', made)
    inside = json.loads(re.findall(r'id="bundle">(.*?)</script>', made)[0])
    assert [one["variant"] for one in inside["manifest"]["artifacts"]] == ["tflite-int8"]
    assert [one["photo"] for one in inside["examples"]] == [f"0{number}.png" for number in range(6)]


def test_policy_names_every_script_by_hash(shared_bundle: Path, manifest: Manifest) -> None:
    made = preview_page.of_folder(shared_bundle, manifest) or ""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made)
    scripts = re.findall(r"<script>(.*?)</script>", made, re.S)
    assert len(scripts) == 14
    assert all(preview_page._hash(one) in policy for one in scripts)
    assert "connect-src" not in policy and policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")


def test_nothing_in_a_manifest_ends_the_data(shared_bundle: Path, manifest: Manifest) -> None:
    odd = replace(manifest, description="</script><script>alert(1)</script>")
    made = preview_page.of_folder(shared_bundle, odd) or ""
    assert "<script>alert" not in made
    assert (
        json.loads(re.findall(r'id="bundle">(.*?)</script>', made)[0])["manifest"]["description"]
        == odd.description
    )


def test_photos_to_try_stay_small(
    shared_bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = len((shared_bundle / "golden" / "00.png").read_bytes())
    monkeypatch.setattr(preview_page, "MAX_EXAMPLE_BYTES", first + 10)
    made = preview_page.of_folder(shared_bundle, manifest) or ""
    assert len(json.loads(re.findall(r'id="bundle">(.*?)</script>', made)[0])["examples"]) == 1


def test_no_page_without_a_model_for_browsers(shared_bundle: Path, manifest: Manifest) -> None:
    only = replace(manifest, artifacts=(replace(manifest.artifacts[0], variant="onnx-fp32"),))
    assert preview_page.choose(only) is None and preview_page.of_folder(shared_bundle, only) is None


def test_scripts_are_sound() -> None:
    """Node, where it is there, parses each of the page's scripts."""
    from shutil import which

    if which("node") is None:
        pytest.skip("no node here")
    for path in sorted(preview_page.folder().glob("*.js")):
        done = subprocess.run(["node", "--check", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
