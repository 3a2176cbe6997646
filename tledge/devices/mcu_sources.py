"""The microcontroller project's own source, made of a bundle: a device without files reads arrays.

Into `generated/` go the model, its labels and figures, the registrations of its operators and a few
golden cases; beside it `budget.md` and `budget.json` say what the model takes of the device.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import files
from tledge.bundle.reader import Bundle
from tledge.contract import AbstentionPolicy
from tledge.devices import mcu_budget
from tledge.devices.mcu_budget import Budget
from tledge.errors import ArtifactError
from tledge.formats.tflite import inspect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARIANT = "tflite-int8"

CASES = 3
"""Golden cases that are compiled in; each takes height x width x 3 bytes of flash."""

REGISTRATIONS = {
    name.upper(): name
    for name in (
        "Abs", "Add", "AveragePool2D", "Cast", "Concatenation", "Conv2D", "DepthToSpace", "DepthwiseConv2D",
        "Dequantize", "Div", "Elu", "Exp", "ExpandDims", "FullyConnected", "HardSwish", "LeakyRelu",
        "Logistic", "MaxPool2D", "Maximum", "Mean", "Minimum", "Mul", "Neg", "Pack", "Pad", "PadV2", "Prelu",
        "Quantize", "ReduceMax", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor",
        "Rsqrt", "Shape", "Slice", "Softmax", "SpaceToDepth", "Split", "SplitV", "Sqrt", "Square",
        "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Sum", "Tanh", "Transpose", "TransposeConv",
        "Unpack",
    )
}  # fmt: skip
"""`MicroMutableOpResolver`'s methods without `Add`, by the schema's name without underscores."""


def fill(project: Path, bundle: Bundle) -> None:
    """Write `generated/`, `budget.json` and `budget.md` into `project`, which holds `bundle/`.

    Raises MissingError without tflite-micro, ArtifactError for a model that holds floats or that does
    not answer the golden pixels in tflite-micro exactly as LiteRT's reference kernels did at export.
    """
    entry = next(one for one in bundle.manifest.artifacts if one.variant == VARIANT)
    path = project / "bundle" / entry.path
    if files.sha256(path) != entry.sha256:
        raise ArtifactError(f"{entry.path}: not the file that manifest.json names (SHA-256 differs).")
    mcu_budget.integer_only(path)
    expected = _expected(path, bundle)
    pixels = bundle.golden()["pixels"]
    ran = mcu_budget.micro_run(path, pixels)
    _agree(path, ran.answers, expected)
    found = mcu_budget.measure(path, ran.arena)
    made = project / "generated"
    made.mkdir()
    sources = {
        "model_data.h": _model_header(path, bundle, found),
        "checksums.h": _checksums_header(path.read_bytes(), bundle.manifest.labels, pixels, expected),
        "model_data.cc": _array_source("model_data.h", "kModel", path.read_bytes()),
        "labels.h": _labels_header(bundle.manifest.labels, bundle.manifest.confidence),
        "operators.h": operators_header([one.name for one in found.operators]),
        **_golden_sources(pixels, expected),
    }
    for name, text in sources.items():
        (made / name).write_text(text, encoding="utf-8")
    files.write_json(project / "budget.json", found)
    (project / "budget.md").write_text(mcu_budget.as_markdown(found, len(pixels)), encoding="utf-8")


def _expected(path: Path, bundle: Bundle) -> NDArray[np.uint8]:
    """LiteRT's reference answers uint8[cases, classes], as bytes again: value / scale + zero point."""
    import numpy as np

    answers = bundle.golden().get(f"{VARIANT}.reference")
    if answers is None:
        raise ArtifactError(f"{bundle.path}: holds no reference answers of {VARIANT}. Bundle the run again.")
    given = inspect(path).outputs[0]
    return (np.round(answers / given.scale) + given.zero_point).astype(np.uint8)


def _agree(path: Path, found: NDArray[Any], expected: NDArray[np.uint8]) -> None:
    import numpy as np

    if found.dtype != np.uint8 or not np.array_equal(found, expected):
        differ = int((found != expected).any(1).sum()) if found.shape == expected.shape else len(found)
        raise ArtifactError(
            f"{path.name}: tflite-micro answers {differ} of {len(found)} golden cases otherwise than "
            "LiteRT's reference kernels did at export. A damaged bundle, or versions that do not fit."
        )


def operators_header(names: Sequence[str]) -> str:
    """A resolver type with room for exactly the operators of these schema names, and their registration.

    Raises ArtifactError for an operator whose registration is not known.
    """
    unknown = [name for name in names if name.replace("_", "") not in REGISTRATIONS]
    if unknown:
        raise ArtifactError(f"no registration in tflite-micro is known for {', '.join(unknown)}.")
    calls = " ||\n         ".join(
        f"resolver.Add{REGISTRATIONS[name.replace('_', '')]}() != kTfLiteOk" for name in names
    )
    return _header(
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        f"using OpResolver = tflite::MicroMutableOpResolver<{len(names)}>;\n\n"
        "inline TfLiteStatus RegisterOperators(OpResolver& resolver) {\n"
        f"  return ({calls})\n             ? kTfLiteError\n             : kTfLiteOk;\n}}\n"
    )


def c_array(data: bytes) -> str:
    """Bytes as the inner part of a C array, 20 a line."""
    rows = (data[start : start + 20] for start in range(0, len(data), 20))
    return ",\n".join("    " + ", ".join(str(byte) for byte in row) for row in rows)


def c_string(text: str) -> str:
    """A C string literal of the text's UTF-8; all but plain characters in octal, which ends by itself."""
    plain = set(range(0x20, 0x7F)) - {ord(one) for one in '"\\?'}
    return '"' + "".join(chr(one) if one in plain else f"\\{one:03o}" for one in text.encode()) + '"'


def _header(body: str) -> str:
    return f"// Made by `tledge bundle --target microcontroller`.\n#pragma once\n\n{body}"


def _array_source(header: str, name: str, data: bytes) -> str:
    array = f"alignas(16) const unsigned char {name}[{len(data)}] = {{\n{c_array(data)}\n}};\n"
    return f'#include "{header}"\n\n{array}'


def _model_header(path: Path, bundle: Bundle, found: Budget) -> str:
    spec, given = bundle.manifest.input, inspect(path).outputs[0]
    return _header(
        "#include <cstddef>\n\n"
        f"// {bundle.manifest.name} {bundle.manifest.version}, SHA-256 {found.sha256}\n"
        f"alignas(16) extern const unsigned char kModel[{found.flash_bytes}];\n\n"
        "// The least in which tflite-micro's reference kernels run it; see budget.md.\n"
        f"constexpr std::size_t kArenaBytes = {found.arena_bytes};\n"
        f"constexpr int kHeight = {spec.height};\nconstexpr int kWidth = {spec.width};\n"
        f"constexpr int kClasses = {len(bundle.manifest.labels)};\n\n"
        "// probability = kScale * (output - kZeroPoint)\n"
        f"constexpr float kScale = {given.scale!r}f;\nconstexpr int kZeroPoint = {given.zero_point};\n"
    )


def _labels_header(labels: Sequence[str], fitted: AbstentionPolicy | None) -> str:
    temperature, threshold = (fitted.temperature, fitted.threshold) if fitted else (1.0, 0.0)
    names = ",\n".join(f"    {c_string(label)}" for label in labels)
    return _header(
        f"constexpr const char* kLabels[] = {{\n{names},\n}};\n\n"
        "// Confidence: p^(1 / kTemperature) over the sum of these; below kThreshold the model is unsure.\n"
        f"constexpr float kTemperature = {float(temperature)!r}f;\n"
        f"constexpr float kThreshold = {float(threshold)!r}f;\n"
    )


def _checksums_header(
    model: bytes, labels: Sequence[str], pixels: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> str:
    """CRC-32 of what is compiled in, so that a device notices a changed byte; labels end with 0, as in C."""
    rows = chosen(expected)
    parts = {
        "Model": model,
        "Labels": b"".join(label.encode() + b"\0" for label in labels),
        "Pixels": pixels[rows].tobytes(),
        "Answers": expected[rows].tobytes(),
    }
    lines = (f"constexpr std::uint32_t k{name}Crc32 = {zlib.crc32(data)}u;" for name, data in parts.items())
    return _header("#include <cstdint>\n\n" + "\n".join(lines) + "\n")


def _golden_sources(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> dict[str, str]:
    rows = chosen(expected)
    picked, answers = pixels[rows], expected[rows]
    count, size, classes = len(rows), picked[0].size, answers.shape[1]
    header = _header(
        f"constexpr int kCases = {count};\n"
        f"alignas(16) extern const unsigned char kPixels[{count * size}];\n"
        f"alignas(16) extern const unsigned char kAnswers[{count * classes}];\n"
    )
    source = _array_source("golden.h", "kPixels", picked.tobytes())
    answered = _array_source("golden.h", "kAnswers", answers.tobytes())
    return {"golden.h": header, "golden.cc": source + answered.removeprefix('#include "golden.h"\n')}


def chosen(expected: NDArray[np.uint8]) -> list[int]:
    """Rows of up to 3 golden cases, of different answers where there are any, in their order."""
    answers = expected.argmax(1).tolist()
    first = [answers.index(one) for one in dict.fromkeys(answers)]
    others = [row for row in range(len(answers)) if row not in first]
    return sorted([*first, *others][:CASES])
