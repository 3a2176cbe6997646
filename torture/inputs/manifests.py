"""What a manifest may say that is not so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _set(*keys: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        container: Any = raw
        for key in keys[:-1]:
            container = container[key]
        container[keys[-1]] = value

    return change


def _swapped_labels(raw: dict[str, Any]) -> None:
    raw["labels"].reverse()


FALSE_MANIFESTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "hash": lambda raw: [artifact.update(sha256="0" * 64) for artifact in raw["artifacts"]],
    "hash of no text": _set("artifacts", 0, "sha256", value=7),
    "size": _set("artifacts", 0, "bytes", value=-1),
    "size huge": _set("artifacts", 0, "bytes", value=10**400),
    "one label too few": lambda raw: raw["labels"].pop(),
    "one label too many": lambda raw: raw["labels"].append("more"),
    "labels in another order": _swapped_labels,
    "labels twice": lambda raw: raw["labels"].__setitem__(1, raw["labels"][0]),
    "label of control characters": _set("labels", 0, value="\x1b[2J\x1b]0;owned\x07"),
    "label that turns text": _set("labels", 0, value="a\u202eb"),
    "half a character": _set("labels", 0, value="\ud800"),
    "label of 100 MB": _set("labels", 0, value="n" * 100_000_000),
    "label of markup": _set("labels", 0, value="<script>alert(1)</script>"),
    "no labels": _set("labels", value=[]),
    "labels of numbers": _set("labels", value=[1, 2, 3]),
    "labels as text": _set("labels", value="abc"),
    "height zero": _set("input", "height", value=0),
    "height negative": _set("input", "height", value=-5),
    "height huge": _set("input", "height", value=10**9),
    "height of a float": _set("input", "height", value=32.0),
    "height as text": _set("input", "height", value="32"),
    "height true": _set("input", "height", value=True),
    "another height": _set("input", "height", value=64),
    "dtype": _set("input", "dtype", value="float32"),
    "scale NaN": _set("artifacts", 0, "output_scale", value=float("nan")),
    "scale infinite": _set("artifacts", 0, "output_scale", value=float("inf")),
    "temperature zero": _set("confidence", value={"temperature": 0, "threshold": 0.5}),
    "temperature NaN": _set("confidence", value={"temperature": float("nan"), "threshold": 0.5}),
    "path outside": _set("artifacts", 0, "path", value="../../etc/passwd"),
    "path absolute": _set("artifacts", 0, "path", value="/etc/passwd"),
    "path of control characters": _set("artifacts", 0, "path", value="a\x1b[2J.tflite"),
    "path of zero byte": _set("artifacts", 0, "path", value="a\0.tflite"),
    "path of a list": _set("artifacts", 0, "path", value=["a"]),
    "photo outside": _set("golden", 0, "photo", value="../../../etc/passwd"),
    "answers outside": _set("artifacts", 0, "expected", 0, "path", value="/etc/passwd"),
    "row outside": _set("golden", 0, "tensor", value=10**6),
    "row negative": _set("golden", 0, "tensor", value=-3),
    "label unknown": _set("golden", 0, "label", value="no such"),
    "variant unknown": _set("artifacts", 0, "variant", value="no such"),
    "variant twice": lambda raw: raw["artifacts"].append(raw["artifacts"][0]),
    "no artifacts": _set("artifacts", value=[]),
    "artifacts null": _set("artifacts", value=None),
    "later version": _set("manifest_version", value=2),
    "version as text": _set("manifest_version", value="1"),
    "version true": _set("manifest_version", value=True),
    "version negative": _set("manifest_version", value=-1),
    "no version": lambda raw: raw.pop("manifest_version"),
    "no labels field": lambda raw: raw.pop("labels"),
    "a field of another": _set("surprise", value=1),
    "description of control characters": _set("description", value="\x1b[31mred\x1b[0m"),
    "name of control characters": _set("name", value="\x1b[2J"),
}
"""What a manifest may say that is not so; SHA256SUMS fit, so that only the manifest's reader can tell."""

MANIFEST_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "invalid UTF-8": b'{"manifest_version": 1, "name": "\xff\xfe"}',
    "names twice": b'{"manifest_version": 1, "manifest_version": 1}',
    "a long number": b'{"manifest_version": 1' + b"0" * 100_000 + b"}",
    "NaN": b'{"manifest_version": NaN}',
    "exponent": b'{"manifest_version": 1e99999}',
    "100 MB": b'{"manifest_version": 1, "x": "' + b"x" * 100_000_000 + b'"}',
    "100 MB of brackets": b"[" * 100_000_000,
    "binary": bytes(range(256)) * 100,
}
"""Whole texts in the manifest's place."""
