"""The seam of a format: what a new one provides, and what inspection finds in a file.

A format converts the Keras model in one of its modes, opens the artifact in its real runtime, and
inspects it. A variant is a mode of a format, such as `tflite-int8`; its name is used everywhere. To add
a format, write a module with a `Format` and add it to `tledge.formats.registry.FORMATS`; to add a mode,
add a `Mode` to its format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tledge._io.json_records import omitted_by_default
from tledge._process.optional_imports import Needs
from tledge.formats.jobs import ConversionJob, ConversionResult
from tledge.runtime.model_file import ModelSource
from tledge.runtime.sessions import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_SIZE = 9
"""Constants with fewer values are paddings and axes, not kernels."""


@dataclass(frozen=True)
class Port:
    """An input or output of an artifact.

    Args:
        name: its name in the file.
        dtype: numpy's name of its dtype, such as "uint8".
        shape: length of each axis, -1 where it is free.
        scale: real value of one step, of a quantized tensor; 0 where it is not quantized.
        zero_point: integer that stands for 0.0.
        signature: the same lengths as the file's signature states them, -1 where it leaves one free;
            () where the file has none. TFLite writes 1 into `shape` for a free length.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    signature: tuple[int, ...] = field(default=(), metadata=omitted_by_default())


@dataclass(frozen=True)
class InputArithmetic:
    """What a model's first operators do with the pixels: `value * scale + offset`.

    Args:
        scale: one number, or one for each channel.
        offset: likewise.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    def then(self, operator: str, constant: tuple[float, ...]) -> InputArithmetic | None:
        """Return this followed by "ADD", "SUB", "MUL" or "DIV" with a constant; None for anything else."""
        count = max(len(self.scale), len(self.offset), len(constant))
        if count not in (1, 3) or not {len(self.scale), len(self.offset), len(constant)} <= {1, count}:
            return None
        scale, offset, by = (
            values * (count // len(values)) for values in (self.scale, self.offset, constant)
        )
        if operator == "DIV":
            if not all(by):
                return None
            by = tuple(1 / value for value in by)
        if operator in ("MUL", "DIV"):
            scale = tuple(a * b for a, b in zip(scale, by, strict=True))
            offset = tuple(a * b for a, b in zip(offset, by, strict=True))
        elif operator in ("ADD", "SUB"):
            sign = 1 if operator == "ADD" else -1
            offset = tuple(a + sign * b for a, b in zip(offset, by, strict=True))
        else:
            return None
        return InputArithmetic(scale, offset)


@dataclass(frozen=True)
class Structure:
    """What a file contains, found without running it.

    Args:
        inputs: the tensors that it takes; an image classifier has one.
        outputs: the tensors that it returns; an image classifier has one.
        weights: bytes of constants by dtype, small integers that steer shapes included.
        activations: dtypes of computed tensors, sorted; empty where the format does not list them.
        operators: names of operators, each once, sorted.
        zeroed: names of kernels whose values are all zero.
        labels: labels that the artifact itself contains, None where it contains none.
        metadata: other texts in the file, by name; JSON takes it.
        first: what the first operators do with the pixels, where that is arithmetic with constants.
        last: operator that computes the output, such as "SOFTMAX"; "" where it is not known.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[str, int]
    activations: tuple[str, ...]
    operators: tuple[str, ...]
    zeroed: tuple[str, ...]
    labels: tuple[str, ...] | None
    metadata: dict[str, Any] = field(default_factory=dict)
    first: InputArithmetic | None = None
    last: str = ""


@dataclass(frozen=True)
class Mode:
    """One precision of a format, and what verification requires of its artifacts.

    Args:
        summary: a few words for `tledge list variants`.
        gate: the parity gates that apply: "float", "fp16" or "int8".
        weights: dtype that kernels must have.
        size: least and largest bytes of the file for each parameter, its `overhead` aside.
        integer_only: whether float tensors are forbidden.
        calibrated: whether converting takes calibration images.
        batch: the batch size that the artifact is made for, None for any.
        input: dtype that the artifact takes.
        overhead: bytes that a file may have beyond its weights: graph, names, metadata.
        needs: modules that converting takes in addition to those of the format.
    """

    summary: str
    gate: str
    weights: str
    size: tuple[float, float]
    integer_only: bool = False
    calibrated: bool = False
    batch: int | None = None
    input: str = "uint8"
    overhead: int = 256 << 10
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A format: its modes, its three functions, and the packages that each of these needs.

    Args:
        suffix: ending of the artifact's name, such as ".tflite"; "" for a folder.
        modes: the modes by name; the name "" is left out of the variant's name.
        convert: does a job in the worker process: writes `job.target.out` under its final name only
            when complete, and returns what it reports. Equal models must give equal bytes. Raises
            ConversionError where a converter gives up or the format has no such kind of job,
            DataError where calibration images cannot serve.
        open: opens a file in its real runtime, with the kernel family that is named ("xnnpack",
            "builtin" or "reference"; formats other than TFLite ignore it). The `Session` that it
            returns takes images uint8[N, H, W, 3] and returns probabilities float32[N, classes].
            Raises ArtifactError where the file is damaged, MissingError where the runtime is missing.
        inspect: finds the structure of a file without running it. Raises ArtifactError where the file
            is damaged, MissingError where a package is missing.
        to_convert: packages that `convert` needs.
        to_open: packages that `open` needs.
        to_inspect: packages that `inspect` needs.
    """

    suffix: str
    modes: dict[str, Mode]
    convert: Callable[[ConversionJob], ConversionResult]
    open: Callable[[ModelSource, str], Session]
    inspect: Callable[[ModelSource], Structure]
    to_convert: Needs
    to_open: Needs
    to_inspect: Needs


@dataclass(frozen=True)
class Variant:
    """A mode of a format under its name, such as `tflite-int8`."""

    name: str
    format: Format
    mode_name: str

    @property
    def mode(self) -> Mode:
        """Return the mode."""
        return self.format.modes[self.mode_name]

    @property
    def filename(self) -> str:
        """Return the name of the artifact's file or folder."""
        return self.name + self.format.suffix

    @property
    def to_convert(self) -> Needs:
        """Return the packages that converting needs: those of the format, and those of the mode."""
        of_format = self.format.to_convert
        return replace(of_format, modules=(*of_format.modules, *self.mode.needs))


def is_zeroed(array: NDArray[Any]) -> bool:
    """Return whether an array is a kernel (two axes or more, float or 8-bit) of nothing but zeros."""
    is_kernel = array.ndim > 1 and array.size >= KERNEL_SIZE and array.dtype.name != "int32"
    return is_kernel and array.dtype.kind in "fiu" and not array.any()
