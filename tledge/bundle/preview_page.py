"""`preview.html`: the page of `export/web` with a model inside, one file that opens offline.

The page's scripts are plain ones that share a scope, so that putting them into one file is copying. Its
content security policy names each of them by hash and allows no request at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from tledge._io import resources
from tledge.bundle.manifest import GoldenCase, Manifest, Shipped

NAME = "preview.html"

RUNNABLE = ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-mixed")
"""Variants that LiteRT.js runs, best first; it takes no int16 input. `model.js` has the same."""

EXAMPLES = 6
EXAMPLE_BYTES = 1 << 19
"""At most so many golden photos of so many bytes together go into the file, to be tried."""

HEAD, BUNDLE = "<!-- head -->", "<!-- bundle -->"
"""Places in index.html: for what a server says of itself, and for a bundle inside the page."""


def folder() -> Path:
    """The folder of the page's files."""
    return resources.folder("export") / "web"


def choose(manifest: Manifest) -> Shipped | None:
    """The artifact that goes into the page: the best that a browser runs, None where there is none."""
    by_name = {one.variant: one for one in manifest.artifacts}
    return next((by_name[name] for name in RUNNABLE if name in by_name), None)


def of_folder(bundle: Path, manifest: Manifest) -> str | None:
    """The page for a bundle's folder; None where a browser can run none of its artifacts."""
    chosen = choose(manifest)
    if chosen is None:
        return None
    photos = {}
    for case in manifest.photos[:EXAMPLES]:
        photos[case.photo] = (bundle / "golden" / case.photo).read_bytes()
    return single_file(manifest, chosen, (bundle / chosen.path).read_bytes(), photos)


def single_file(manifest: Manifest, artifact: Shipped, model: bytes, photos: Mapping[str, bytes]) -> str:
    """The whole page as text: `model` is the artifact's file, `photos` are golden photos by file name.

    Equal inputs give equal text.
    """
    html = (folder() / "index.html").read_text(encoding="utf-8")
    html = re.sub(
        r'<link rel="stylesheet" href="([\w./]+)">', lambda one: f"<style>{_text(one[1])}</style>", html
    )
    html = re.sub(r'<script src="([\w./]+)"></script>', lambda one: f"<script>{_text(one[1])}</script>", html)
    html = re.sub(r'(http-equiv="Content-Security-Policy" content=")[^"]*', rf"\g<1>{_policy(html)}", html)
    return html.replace(HEAD + "\n", "").replace(BUNDLE, _data(manifest, artifact, model, photos))


def _text(name: str) -> str:
    """A file of the page, fit to stand inside an element."""
    return (folder() / name).read_text(encoding="utf-8").replace("</script", r"<\/script")


def _policy(html: str) -> str:
    """The content security policy of a page whose scripts and style stand inside it."""
    scripts = " ".join(map(_hash, re.findall(r"<script>(.*?)</script>", html, re.DOTALL)))
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    return (
        f"default-src 'none'; script-src {scripts} 'wasm-unsafe-eval'; style-src {_hash(style)}; "
        "img-src blob: data:; media-src blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _data(manifest: Manifest, artifact: Shipped, model: bytes, photos: Mapping[str, bytes]) -> str:
    """Elements that no browser runs: the manifest, the model, LiteRT's WebAssembly and licence, photos."""
    tried = _affordable(manifest.photos, photos)
    inside = replace(manifest, artifacts=(artifact,), golden=tried)
    facts = {"manifest": asdict(inside), "examples": [asdict(case) for case in tried]}
    parts = {
        artifact.path: gzip.compress(model, 9, mtime=0),
        "litert.wasm.gz": (folder() / "litert" / "litert.wasm.gz").read_bytes(),
        **{case.photo: photos[case.photo] for case in tried},
    }
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True).replace("<", r"\u003c")
    licence = _text("litert/LICENSE")
    lines = [
        f'<script type="text/plain" id="licence-of-LiteRT.js">\n{licence}</script>',
        f'<script type="application/json" id="bundle">{text}</script>',
    ]
    for name, data in parts.items():
        packed = base64.b64encode(data).decode()
        lines.append(f'<script type="application/octet-stream" id="{name}">{packed}</script>')
    return "\n".join(lines)


def _affordable(cases: tuple[GoldenCase, ...], photos: Mapping[str, bytes]) -> tuple[GoldenCase, ...]:
    """Of `cases` those whose photos are given, as long as all together are small."""
    kept, size = [], 0
    for case in cases:
        if case.photo in photos and size + len(photos[case.photo]) <= EXAMPLE_BYTES:
            size += len(photos[case.photo])
            kept.append(case)
    return tuple(kept)
