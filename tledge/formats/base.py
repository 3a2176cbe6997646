"""What a format and a mode are, and what inspection finds in a file.

A format converts the Keras model in one of its modes, opens the result in its real runtime, and
inspects it. A variant is a mode of a format, and its name is used everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

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
    """An input or output of an artifact; scale 0 where it is not quantized."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class Structure:
    """What is in a file, found without running it.

    `weights` counts bytes of constants by dtype, small integers that steer shapes included;
    `activations` are dtypes of computed tensors; `zeroed` names kernels with no value but zero;
    `labels` are those that the artifact itself carries, None where it carries none.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[str, int]
    activations: tuple[str, ...]
    operators: tuple[str, ...]
    zeroed: tuple[str, ...]
    labels: tuple[str, ...] | None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mode:
    """One precision of a format.

    `gate` names the parity gates that apply ("float", "fp16", "int8"); `weights` is the dtype
    that kernels must have; `size` bounds file bytes over parameter count; `integer_only` allows
    no float tensor at all.
    """

    summary: str
    gate: str
    weights: str
    size: tuple[float, float]
    integer_only: bool = False
    calibrated: bool = False
    batch: int | None = None
    input: str = "uint8"
    """dtype that the artifact takes."""
    overhead: int = 256 << 10
    """Bytes a file may have beyond its weights: graph, names, metadata."""
    needs: tuple[str, ...] = ()
    """Modules that making it takes beside what its format takes."""


@dataclass(frozen=True)
class Format:
    """A format: its modes, the three things one can do with it, and what each of these needs."""

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
        return self.format.modes[self.mode_name]

    @property
    def filename(self) -> str:
        return self.name + self.format.suffix

    @property
    def to_convert(self) -> Needs:
        """What making it needs."""
        plain = self.format.to_convert
        return replace(plain, modules=(*plain.modules, *self.mode.needs))


def is_zeroed(array: NDArray[Any]) -> bool:
    """True for a kernel (two axes or more, float or 8-bit) that holds nothing but zeros."""
    is_kernel = array.ndim > 1 and array.size >= KERNEL_SIZE and array.dtype.name != "int32"
    return is_kernel and array.dtype.kind in "fiu" and not array.any()
