"""Generate the source of the microcontroller project from a bundle: a device without files reads arrays.

`generated/` gets the model, its labels and figures, the registrations of its operators and a few golden
cases; beside it `budget.md` and `budget.json` describe the memory that the model needs.
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

MAX_CASES, MAX_CASE_BYTES = 3, 1 << 18
"""Golden cases that are compiled in, and bytes of their pixels; each needs height x width x 3 of flash."""

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

    Raises MissingError without tflite-micro, ArtifactError for a model with float tensors, and for one
    whose outputs in tflite-micro are not bit-exact with LiteRT's reference kernels at export.
    """
    entry = next(artifact for artifact in bundle.manifest.artifacts if artifact.variant == VARIANT)
    path = project / "bundle" / entry.path
    if files.sha256(path) != entry.sha256:
        raise ArtifactError(f"{entry.path}: not the file that manifest.json names (SHA-256 differs).")
    mcu_budget.require_integer_only(path)
    expected = _expected_outputs(path, bundle)
    pixels = bundle.golden()["pixels"]
    run = mcu_budget.micro_run(path, pixels)
    _require_exact(path, run.outputs, expected)
    budget = mcu_budget.measure(path, run.arena)
    generated = project / "generated"
    generated.mkdir()
    sources = {
        "model_data.h": _model_header(path, bundle, budget),
        "checksums.h": _checksums_header(path.read_bytes(), bundle.manifest.labels, pixels, expected),
        "model_data.cc": _array_source("model_data.h", "kModel", path.read_bytes()),
        "labels.h": _labels_header(bundle.manifest.labels, bundle.manifest.confidence),
        "operators.h": operators_header([operator.name for operator in budget.operators]),
        **_golden_sources(pixels, expected),
    }
    for name, text in sources.items():
        (generated / name).write_text(text, encoding="utf-8")
    files.write_json(project / "budget.json", budget)
    (project / "budget.md").write_text(mcu_budget.as_markdown(budget, len(pixels)), encoding="utf-8")


def _expected_outputs(path: Path, bundle: Bundle) -> NDArray[np.uint8]:
    """Return the outputs of LiteRT's reference kernels, uint8[cases, classes]: value / scale + zero point."""
    import numpy as np

    entry = next(artifact for artifact in bundle.manifest.artifacts if artifact.variant == VARIANT)
    if reason := entry.unsupported_reason("reference"):
        raise ArtifactError(
            f"{path.name}: microcontrollers compute as LiteRT's reference kernels do, which do not run it. "
            f"At export: {reason}"
        )
    probabilities = bundle.golden().get(f"{VARIANT}.reference")
    if probabilities is None:
        raise ArtifactError(
            f"{bundle.path}: has no predictions of {VARIANT} with reference kernels. Bundle the run again."
        )
    output = inspect(path).outputs[0]
    return (np.round(probabilities / output.scale) + output.zero_point).astype(np.uint8)


def _require_exact(path: Path, outputs: NDArray[Any], expected: NDArray[np.uint8]) -> None:
    """Raise ArtifactError unless the outputs are bit-exact."""
    import numpy as np

    if outputs.dtype != np.uint8 or not np.array_equal(outputs, expected):
        differ = int((outputs != expected).any(1).sum()) if outputs.shape == expected.shape else len(outputs)
        raise ArtifactError(
            f"{path.name}: tflite-micro's outputs for {differ} of {len(outputs)} golden cases differ from "
            "LiteRT's reference kernels at export. The bundle is damaged, or the versions do not match."
        )


def operators_header(names: Sequence[str]) -> str:
    """Return a resolver type for exactly the operators of these schema names, and their registration.

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
    """Return bytes as the content of a C array, 20 a line."""
    rows = (data[start : start + 20] for start in range(0, len(data), 20))
    return ",\n".join("    " + ", ".join(str(byte) for byte in row) for row in rows)


def c_string(text: str) -> str:
    """Return a C string literal of the text's UTF-8; all but plain characters as three octal digits."""
    plain = set(range(0x20, 0x7F)) - {ord(character) for character in '"\\?'}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_comment(text: str) -> str:
    """Return text for a line of comment: no character ends the line, joins the next one or is no ASCII."""
    return c_string(text)[1:-1]


def _header(body: str) -> str:
    return f"// Made by `tledge bundle --target microcontroller`.\n#pragma once\n\n{body}"


def _array_source(header: str, name: str, data: bytes) -> str:
    array = f"alignas(16) const unsigned char {name}[{len(data)}] = {{\n{c_array(data)}\n}};\n"
    return f'#include "{header}"\n\n{array}'


def _model_header(path: Path, bundle: Bundle, budget: Budget) -> str:
    spec, output = bundle.manifest.input, inspect(path).outputs[0]
    return _header(
        "#include <cstddef>\n\n"
        f"// {c_comment(f'{bundle.manifest.name} {bundle.manifest.version}')}, SHA-256 {budget.sha256}\n"
        f"alignas(16) extern const unsigned char kModel[{budget.flash_bytes}];\n\n"
        "// The smallest arena in which tflite-micro's reference kernels run the model; see budget.md.\n"
        f"constexpr std::size_t kArenaBytes = {budget.arena_bytes};\n"
        f"constexpr int kHeight = {spec.height};\nconstexpr int kWidth = {spec.width};\n"
        f"constexpr int kClasses = {len(bundle.manifest.labels)};\n\n"
        "// probability = kScale * (output - kZeroPoint)\n"
        f"constexpr float kScale = {output.scale!r}f;\nconstexpr int kZeroPoint = {output.zero_point};\n"
    )


def _labels_header(labels: Sequence[str], policy: AbstentionPolicy | None) -> str:
    temperature, threshold = (policy.temperature, policy.threshold) if policy else (1.0, 0.0)
    names = ",\n".join(f"    {c_string(label)}" for label in labels)
    return _header(
        f"constexpr const char* kLabels[] = {{\n{names},\n}};\n\n"
        "// Confidence: p^(1 / kTemperature) over the sum for all classes; unsure below kThreshold.\n"
        f"constexpr float kTemperature = {float(temperature)!r}f;\n"
        f"constexpr float kThreshold = {float(threshold)!r}f;\n"
    )


def _checksums_header(
    model: bytes, labels: Sequence[str], pixels: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> str:
    """Return the CRC-32 of the arrays, to detect changed bytes on a device; labels end with 0, as in C."""
    rows = select_cases(expected, pixels[0].size)
    parts = {
        "Model": model,
        "Labels": b"".join(label.encode() + b"\0" for label in labels),
        "Pixels": pixels[rows].tobytes(),
        "Answers": expected[rows].tobytes(),
    }
    lines = (f"constexpr std::uint32_t k{name}Crc32 = {zlib.crc32(data)}u;" for name, data in parts.items())
    return _header("#include <cstdint>\n\n" + "\n".join(lines) + "\n")


def _golden_sources(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> dict[str, str]:
    rows = select_cases(expected, pixels[0].size)
    case_pixels, outputs = pixels[rows], expected[rows]
    count, size, classes = len(rows), case_pixels[0].size, outputs.shape[1]
    header = _header(
        f"constexpr int kCases = {count};\n"
        f"alignas(16) extern const unsigned char kPixels[{count * size}];\n"
        f"alignas(16) extern const unsigned char kAnswers[{count * classes}];\n"
    )
    source = _array_source("golden.h", "kPixels", case_pixels.tobytes())
    output_array = _array_source("golden.h", "kAnswers", outputs.tobytes())
    return {"golden.h": header, "golden.cc": source + output_array.removeprefix('#include "golden.h"\n')}


def select_cases(expected: NDArray[np.uint8], case_bytes: int = 1) -> list[int]:
    """Return the rows of up to 3 golden cases in order, with different predictions where possible.

    There are fewer where their pixels, each of `case_bytes`, would take more than `MAX_CASE_BYTES`; one at
    least.
    """
    predictions = expected.argmax(1).tolist()
    first = [predictions.index(label) for label in dict.fromkeys(predictions)]
    others = [row for row in range(len(predictions)) if row not in first]
    count = max(1, min(MAX_CASES, MAX_CASE_BYTES // case_bytes))
    return sorted([*first, *others][:count])
