"""The formats, and the variants made from their modes.

To add a mode, add a row to its format; to add a format, write a module and add a line here.
"""

from __future__ import annotations

from tledge.formats import onnx, saved_model, tflite
from tledge.formats.base import Format, Variant

FORMATS: dict[str, Format] = {
    "saved_model": saved_model.FORMAT,
    "tflite": tflite.FORMAT,
    "onnx": onnx.FORMAT,
}

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(f"{name}-{mode}".rstrip("-"), format, mode)
        for name, format in FORMATS.items()
        for mode in format.modes
    )
}
