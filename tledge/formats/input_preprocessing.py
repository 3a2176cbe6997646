"""Read what a model that was made elsewhere says of its input: size, layout, dtype and scaling.

The scaling is read, in this order, from

1. the range of real values that scale and zero point of an 8-bit input cover, where that is a known range;
2. the metadata: `NormalizationOptions` of TFLite (mean and std for bytes 0..255), or the properties
   `Image.NominalPixelRange` and `Image.BitmapPixelFormat` of ONNX;
3. the model's first operators, where they map bytes, or values from 0 to 1, to a known range;
4. a quantized byte input of any other range: it takes the byte, as one without quantization does.

Otherwise it is unknown, and never assumed: a wrong scaling gives wrong predictions without any error.

Sources: `metadata_schema.fbs` of TensorFlow Lite ("NormalizationOptions"); MetadataProps.md of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tledge.errors import ArtifactError, RecipeError
from tledge.formats.base import InputArithmetic, Port, Structure
from tledge.preprocessing import scaling as scalings
from tledge.preprocessing.scaling import SCALINGS, Scaling
from tledge.runtime.sessions import MAX_SIDE

INTEGERS = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}
"""Integer dtypes of inputs, with their smallest and largest number."""

BYTE_INPUT = "its byte input"
"""Source of the scaling of an input that takes bytes without quantization."""

FLOATS = ("float16", "float32", "float64")

RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
"""Ranges of pixel values that models are trained with."""

RANGE_TOLERANCE = 0.03
"""Part of its width by which a range may differ at each end: calibration saw photos, and not 0 and 255."""

UNLIKELY = 1e6
"""Means and deviations of bytes are never larger; such figures are damaged."""

NOMINAL_RANGES = {
    "NominalRange_0_255": (0.0, 255.0),
    "Normalized_0_1": (0.0, 1.0),
    "Normalized_1_1": (-1.0, 1.0),
}
"""Ranges by their name in ONNX' metadata."""


@dataclass(frozen=True)
class InputPreprocessing:
    """What a model takes, and where that was read.

    Attributes:
        height: Of the images in pixels; 0 where the model takes any.
        width: Likewise.
        channels: 3, or 1 for grey images.
        layout: "NHWC" or "NCHW".
        dtype: numpy's name of the input's dtype.
        scaling: How bytes become values; None where the file does not say.
        source: Where the scaling was read, or why it is not known.
    """

    height: int
    width: int
    channels: int
    layout: str
    dtype: str
    scaling: Scaling | None
    source: str

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width, None where the model takes images of any size."""
        return (self.height, self.width) if self.height and self.width else None

    def describe(self) -> str:
        """Return all of it in one line."""
        size = f"{self.height} x {self.width}" if self.size else "any size"
        colour = "grey" if self.channels == 1 else "colour"
        how = f"{self.scaling.name}: {self.scaling.describe()}" if self.scaling else "unknown"
        return f"{size}, {colour}, {self.layout}, {self.dtype}; scaling {how} (from {self.source})"


def read_input(structure: Structure, name: str) -> InputPreprocessing:
    """Read size, layout, dtype and scaling of a model's first input.

    Args:
        structure: What inspecting the file found.
        name: The file's name for messages.

    Raises:
        ArtifactError: the input is not one image, or its quantization is not possible.
    """
    port = structure.inputs[0] if structure.inputs else Port("", "", ())
    height, width, channels, layout = _image_axes(port, name)
    if port.dtype not in (*INTEGERS, *FLOATS):
        raise ArtifactError(
            f"{name}: the model's input is {port.dtype}; images are given as floats or integers."
        )
    _check_quantization(port, name)
    scaling, source = _scaling(structure, port)
    if scaling and channels == 1 and scaling.per_channel:
        scaling, source = None, f"figures for each colour in {source}, which do not fit a grey input"
    return InputPreprocessing(height, width, channels, layout, port.dtype, scaling, source)


def _image_axes(port: Port, name: str) -> tuple[int, int, int, str]:
    """Return height, width (0 where free), channels and layout; raise ArtifactError for another shape."""
    shape = port.signature if len(port.signature) == len(port.shape) else port.shape
    if len(shape) == 4 and port.dtype:
        for layout, axes in (("NHWC", (1, 2, 3)), ("NCHW", (2, 3, 1))):
            height, width, channels = (shape[axis] for axis in axes)
            if channels in (1, 3) and max(height, width) <= MAX_SIDE:
                # A converter that drops the signature leaves 1 for a free side.
                free = height < 1 or width < 1 or (height, width) == (1, 1)
                return (0, 0, channels, layout) if free else (height, width, channels, layout)
    raise ArtifactError(
        f"{name}: the model's input has shape {list(shape)}, expected one image [N, height, width, channels] "
        "or [N, channels, height, width] with 3 channels, or 1 for grey."
    )


def _check_quantization(port: Port, name: str) -> None:
    if port.scale and not 1 / UNLIKELY**2 < port.scale < UNLIKELY:
        raise ArtifactError(
            f"{name}: the model's input is quantized with scale {port.scale}, which cannot be right."
        )
    if port.scale and port.dtype in INTEGERS:
        low, high = INTEGERS[port.dtype]
        if not low <= port.zero_point <= high:
            raise ArtifactError(
                f"{name}: the model's input is quantized with zero point {port.zero_point}, which is no "
                f"{port.dtype}."
            )


def _scaling(structure: Structure, port: Port) -> tuple[Scaling | None, str]:
    """Return the scaling and where it was read, or None and why it is not known."""
    if port.dtype == "uint8" and not port.scale:
        order = _order(structure.metadata)
        return scalings.named(replace(scalings.BYTES, order=order)), BYTE_INPUT
    if port.scale and port.dtype in ("uint8", "int8"):
        return _of_quantized(structure, port)
    stated, source = _from_metadata(structure.metadata)
    return (stated, source) if source else _of_operators(structure, f"a {port.dtype} input without metadata")


def _of_quantized(structure: Structure, port: Port) -> tuple[Scaling | None, str]:
    """Return the scaling of a quantized 8-bit input; one of bytes takes the byte if nothing else is said."""
    low, high = ((number - port.zero_point) * port.scale for number in INTEGERS[port.dtype])
    source = f"its {port.dtype} input, whose scale and zero point cover {low:.4g} to {high:.4g}"
    if covered := _known_range(low, high):
        return covered, source
    stated, from_metadata = _from_metadata(structure.metadata)
    if stated:
        return stated, from_metadata
    if port.dtype == "uint8":
        return scalings.from_range(low, high), source
    return _of_operators(structure, f"{source}, which is no usual range")


def _of_operators(structure: Structure, otherwise: str) -> tuple[Scaling | None, str]:
    inside = _from_arithmetic(structure.first) if structure.first else None
    return (inside, "its first operators, which scale the pixels themselves") if inside else (None, otherwise)


def _known_range(low: float, high: float) -> Scaling | None:
    for known in RANGES:
        tolerance = RANGE_TOLERANCE * (known[1] - known[0])
        if abs(low - known[0]) <= tolerance and abs(high - known[1]) <= tolerance:
            return scalings.from_range(*known)
    return None


def _from_metadata(metadata: Mapping[str, Any]) -> tuple[Scaling | None, str]:
    """Return what the metadata states, or None and why that cannot be used, "" where it states nothing."""
    image = metadata.get("input")
    if isinstance(image, Mapping) and (image.get("mean") or image.get("std")):
        mean, std = image.get("mean") or [0.0], image.get("std") or [1.0]
        return _stated(mean, std)
    nominal, order = metadata.get("Image.NominalPixelRange"), _order(metadata)
    if nominal in NOMINAL_RANGES:
        return scalings.from_range(*NOMINAL_RANGES[nominal], order), f"its metadata ({nominal}, {order})"
    return None, ""


def _order(metadata: Mapping[str, Any]) -> str:
    is_bgr = str(metadata.get("Image.BitmapPixelFormat")).lower().startswith("bgr")
    return "BGR" if is_bgr else "RGB"


def _stated(mean: Iterable[float], std: Iterable[float]) -> tuple[Scaling | None, str]:
    means, stds = tuple(map(float, mean)), tuple(map(float, std))
    text = f"mean {_short(means)}, std {_short(stds)}"
    try:
        if max(map(abs, (*means, *stds))) <= UNLIKELY:
            return scalings.named(Scaling("", means, stds)), f"its metadata ({text})"
    except ValueError:
        pass
    return None, f"metadata that cannot be right ({text})"


def _short(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:3])
    return f"[{shown}, … {len(values)} numbers]" if len(values) > 3 else shown


def _from_arithmetic(first: InputArithmetic) -> Scaling | None:
    """Return the scaling outside of a model that scales inside, where both together are a known one.

    `value * (1 / 127.5) - 1` makes -1..1 of bytes, and `value * 2 - 1` of values from 0 to 1.
    """
    for outer in (scalings.BYTES, scalings.TO_ONE):
        combined = _combined(outer, first)
        for known in SCALINGS if combined else ():
            if combined and _is_scaled_to(combined, known) and not known.has_values_of(outer):
                return scalings.named(replace(outer, order=known.order))
    return None


def _combined(outer: Scaling, first: InputArithmetic) -> Scaling | None:
    """Return `outer` followed by the arithmetic, as one scaling without a name; None where it is none."""
    # (b - mean) / std * scale + offset = (b - (mean - offset * std / scale)) / (std / scale)
    count = max(len(first.scale), len(first.offset))
    scales, offsets = (values * (count // len(values)) for values in (first.scale, first.offset))
    try:
        stds = tuple(outer.std[0] / scale for scale in scales)
        means = tuple(outer.mean[0] - offset * std for offset, std in zip(offsets, stds, strict=True))
        return Scaling("", means, stds)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def _is_scaled_to(combined: Scaling, known: Scaling) -> bool:
    """Check that figures in the model's channel order are those of a known scaling."""
    return scalings.named(replace(combined, order=known.order)) == known


def with_choices(
    preprocessing: InputPreprocessing,
    scaling: Scaling | None,
    image_size: tuple[int, int] | None,
    name: str,
) -> InputPreprocessing:
    """Return the preprocessing with what the user chose by `--scaling` and `--image-size`.

    Raises:
        RecipeError: the model has another size, or takes bytes, or is grey and the scaling is for colours.
    """
    if image_size and preprocessing.size and image_size != preprocessing.size:
        raise RecipeError(
            f"--image-size {image_size[0]}x{image_size[1]}: {name} takes images of "
            f"{preprocessing.height}x{preprocessing.width}."
        )
    chosen = preprocessing
    if image_size:
        chosen = replace(chosen, height=image_size[0], width=image_size[1])
    if scaling is None:
        return chosen
    if preprocessing.channels == 1 and scaling.per_channel:
        raise RecipeError(
            f"--scaling {scaling.name} has figures for each colour, and {name} takes grey images."
        )
    if preprocessing.source == BYTE_INPUT and not scaling.has_values_of(scalings.BYTES):
        raise RecipeError(f"--scaling {scaling.name}: {name} takes bytes; expected 0..255, or 0..255,bgr.")
    return replace(chosen, scaling=scaling, source="--scaling")


def unknown_scaling(preprocessing: InputPreprocessing, name: str) -> RecipeError:
    """Return the error for a model whose scaling is not known, with the choices."""
    return RecipeError(
        f"{name}: does not say how its pixels are scaled ({preprocessing.source}). Add --scaling: "
        f"{scalings.choices()}. Or let labelled photos choose: --scaling auto --photos FOLDER, with a folder "
        "for each label."
    )
