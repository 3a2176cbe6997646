"""Build `preview.html`: the page of `export/web` with a model inside, one file that opens offline.

The page's scripts are plain scripts that share a scope, so they are copied into one file. The content
security policy names each of them by hash and allows no request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from html import escape
from pathlib import Path

from tledge._io import resources
from tledge._io.json_records import to_json
from tledge.bundle.manifest import GoldenCase, Manifest, Shipped

NAME = "preview.html"

RUNNABLE = ("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-mixed")
"""Variants that LiteRT.js runs, best first; it takes no int16 input. `model.js` has the same list."""

MAX_EXAMPLES = 6
MAX_EXAMPLE_BYTES = 1 << 19
"""Largest number and total size of the golden photos in the page."""

HEAD, BUNDLE = "<!-- head -->", "<!-- bundle -->"
"""Placeholders in index.html: for a server's features, and for a bundle inside the page."""


def folder() -> Path:
    """Return the folder of the page's files."""
    return resources.folder("export") / "web"


def choose(manifest: Manifest) -> Shipped | None:
    """Return the best artifact that a browser can run; None where there is none."""
    artifacts = {artifact.variant: artifact for artifact in manifest.artifacts}
    return next((artifacts[variant] for variant in RUNNABLE if variant in artifacts), None)


def of_folder(bundle: Path, manifest: Manifest) -> str | None:
    """Return the page of a bundle's folder; None where a browser can run none of its artifacts."""
    artifact = choose(manifest)
    if artifact is None:
        return None
    photos = {}
    for case in manifest.photos[:MAX_EXAMPLES]:
        photos[case.photo] = (bundle / "golden" / case.photo).read_bytes()
    return single_file(manifest, artifact, (bundle / artifact.path).read_bytes(), photos)


def single_file(manifest: Manifest, artifact: Shipped, model: bytes, photos: Mapping[str, bytes]) -> str:
    """Return the complete page: `model` is the artifact's file, `photos` are golden photos by file name.

    The text is reproducible.
    """
    html = (folder() / "index.html").read_text(encoding="utf-8")
    html = re.sub(
        r'<link rel="stylesheet" href="([\w./]+)">', lambda match: f"<style>{_text(match[1])}</style>", html
    )
    html = re.sub(
        r'<script src="([\w./]+)"></script>', lambda match: f"<script>{_text(match[1])}</script>", html
    )
    html = re.sub(r'(http-equiv="Content-Security-Policy" content=")[^"]*', rf"\g<1>{_policy(html)}", html)
    return html.replace(HEAD + "\n", "").replace(BUNDLE, _data(manifest, artifact, model, photos))


def _text(name: str) -> str:
    """Return a file of the page, escaped to be the content of an element."""
    return (folder() / name).read_text(encoding="utf-8").replace("</script", r"<\/script")


def _policy(html: str) -> str:
    """Return the content security policy of a page with inline scripts and style."""
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
    """Return data elements: the manifest, the model, LiteRT's WebAssembly and licence, photos."""
    examples = _examples(manifest.photos, photos)
    embedded = replace(manifest, artifacts=(artifact,), golden=examples)
    facts = {"manifest": to_json(embedded), "examples": [asdict(case) for case in examples]}
    parts = {
        artifact.path: gzip.compress(model, 9, mtime=0),
        "litert.wasm.gz": (folder() / "litert" / "litert.wasm.gz").read_bytes(),
        **{case.photo: photos[case.photo] for case in examples},
    }
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True).replace("<", r"\u003c")
    licence = _text("litert/LICENSE")
    lines = [
        f'<script type="text/plain" id="licence-of-LiteRT.js">\n{licence}</script>',
        f'<script type="application/json" id="bundle">{text}</script>',
    ]
    for name, data in parts.items():
        packed = base64.b64encode(data).decode()
        lines.append(f'<script type="application/octet-stream" id="{escape(name)}">{packed}</script>')
    return "\n".join(lines)


def _examples(cases: tuple[GoldenCase, ...], photos: Mapping[str, bytes]) -> tuple[GoldenCase, ...]:
    """Return the cases whose photos are available and fit into the limit for the page."""
    examples, size = [], 0
    for case in cases:
        if case.photo in photos and size + len(photos[case.photo]) <= MAX_EXAMPLE_BYTES:
            size += len(photos[case.photo])
            examples.append(case)
    return tuple(examples)
