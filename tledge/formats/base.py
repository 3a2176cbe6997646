"""What a format and a mode are, and what inspection finds in a file.

A format converts the Keras model in one of its modes, opens the result in its real runtime, and
inspects it. A variant is a mode of a format, and its name is used everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process.optional_imports import Needs
from tledge.runtime.sessions import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_SIZE = 9
"""Constants with fewer values are paddings and axes, not kernels."""

MODE = "mode"
"""Key in what a conversion tells: the mode of what it made, where remedies ended in another."""


@dataclass(frozen=True)
class ConversionJob:
    """One conversion, as plain values, so that another process can do it.

    `calibration` is an `.npy` of uint8[N, H, W, 3] for modes that want one; `uncorrected` names a
    second file for the same conversion without bias correction. Where `held_out` names an `.npz` of
    images and labels, remedies are tried on it until they pass `limits`, the gates by name; those
    that leave floats in the model only without `integer_only`. Where
    `ranges` names a JSON of them, `model` is quantize-aware and needs neither images nor remedies.
    """

    model: str
    out: str
    mode: str
    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    calibration: str | None = None
    bias_correction: bool = False
    uncorrected: str | None = None
    held_out: str | None = None
    limits: dict[str, float] = field(default_factory=dict)
    integer_only: bool = True
    ranges: str | None = None


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
    convert: Callable[[ConversionJob], dict[str, Any]]
    open: Callable[[Path, str], Session]
    inspect: Callable[[Path], Structure]
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
