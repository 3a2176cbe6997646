"""Write the front matter of a model card: the YAML between `---` that Hugging Face reads.

Strings are written as JSON, which YAML reads too, so that no name of a user becomes markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tledge.bundle.run_summary import Summary
from tledge.run.records import ParityRow

LIBRARIES = (("tflite", "litert"), ("onnx", "onnx"), ("saved_model", "keras"))
"""Start of a variant's name, and the library of Hugging Face that runs it: the first that is bundled."""

INTEGERS = ("int8", "int16", "mixed")
"""Parts of the names of variants that are quantized."""


def text(summary: Summary, rows: Sequence[ParityRow]) -> str:
    """Return the front matter of a run whose `rows` are bundled, with its two lines of dashes."""
    return "---\n" + "\n".join(_lines(_fields(summary, rows))) + "\n---\n"


def _fields(summary: Summary, rows: Sequence[ParityRow]) -> dict[str, Any]:
    """Return the keys of Hugging Face. The licence of the model is its author's choice, which no file has."""
    libraries = [
        library for start, library in LIBRARIES if any(row.variant.startswith(start) for row in rows)
    ]
    quantized = any(part in row.variant for row in rows for part in INTEGERS)
    tags = ["image-classification", "tledge", "edge", *libraries, *(["quantized"] if quantized else [])]
    return {
        "license": "unknown",
        "pipeline_tag": "image-classification",
        "library_name": libraries[0] if libraries else "keras",
        "tags": tags,
        "metrics": ["accuracy"],
        "model-index": [{"name": summary.run.name, "results": [_result(summary, rows)]}],
    }


def _result(summary: Summary, rows: Sequence[ParityRow]) -> dict[str, Any]:
    """Return accuracy on the test split, of the Keras model and of every artifact that passed."""
    name = summary.run.name
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {
            "type": _slug(name),
            "name": f"{name}, {summary.run.test.images} images",
            "split": "test",
        },
        "metrics": [
            _metric("Keras model", summary.run.test.accuracy),
            *(_metric(row.variant, row.accuracy) for row in rows if row.verdict == "passed" and row.accuracy),
        ],
    }


def _metric(name: str, accuracy: float) -> dict[str, Any]:
    return {"type": "accuracy", "value": round(accuracy, 4), "name": f"Accuracy, {name}"}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images"


def _lines(value: Any) -> Iterator[str]:
    """Yield the lines of a mapping or list in YAML's block style."""
    items = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for key, item in items:
        start = "-" if key is None else f"{key}:"
        if not isinstance(item, (Mapping, list)):
            yield f"{start} {_scalar(item)}"
            continue
        inner = list(_lines(item))
        if key is None:
            yield from (f"{'- ' if number == 0 else '  '}{line}" for number, line in enumerate(inner))
        else:
            yield from (start, *(f"  {line}" for line in inner))


def _scalar(value: str | float) -> str:
    """Return a number, a plain word, or a JSON string whose unprintable letters are escaped."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w-]*", value, re.ASCII) and value not in _WORDS:
        return value
    return "".join(
        letter if letter.isprintable() else f"\\U{ord(letter):08x}"
        for letter in json.dumps(value, ensure_ascii=False)
    )


_WORDS = {word for text in ("true", "false", "yes", "no", "on", "off", "null", "y", "n") for word in
          (text, text.title(), text.upper())}  # fmt: skip
"""Words that YAML reads as something else than a string."""
