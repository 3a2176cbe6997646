"""What Arm's compiler for Ethos-U estimates of a model: memory, cycles, operators left on the CPU."""

from __future__ import annotations

import csv
import importlib.util
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tledge._process import subprocesses
from tledge.errors import ArtifactError, MissingError
from tledge.formats.tflite_operators import operators

NPU = "ethos-u"
"""The one custom operator that stands for all that was compiled for the accelerator."""


@dataclass(frozen=True)
class Configuration:
    """An accelerator in a system and a memory mode of Vela's own `Arm/vela.ini`."""

    accelerator: str
    system: str
    memory: str = "Shared_Sram"


CONFIGURATIONS = {
    "ethos-u55-64": Configuration("ethos-u55-64", "Ethos_U55_Deep_Embedded"),
    "ethos-u55-128": Configuration("ethos-u55-128", "Ethos_U55_High_End_Embedded"),
    "ethos-u55-256": Configuration("ethos-u55-256", "Ethos_U55_High_End_Embedded"),
    "ethos-u65-256": Configuration("ethos-u65-256", "Ethos_U65_Embedded"),
    "ethos-u65-512": Configuration("ethos-u65-512", "Ethos_U65_Embedded"),
    "ethos-u85-256": Configuration("ethos-u85-256", "Ethos_U85_SYS_Flash_High"),
}
"""By name: systems with the model in flash and everything else in SRAM, as a microcontroller has."""


@dataclass(frozen=True)
class Estimate:
    """Vela's figures for one configuration: estimates of a compiler, measured on no device.

    `sram_bytes` and `flash_bytes` are those of the compiled model; `cycles` are the accelerator's for
    one image at `clock_mhz`; `on_cpu` counts operators that it cannot take, by name.
    """

    configuration: str
    sram_bytes: int
    flash_bytes: int
    cycles: int
    clock_mhz: float
    milliseconds: float
    on_cpu: dict[str, int] = field(default_factory=dict)


def estimate(model: bytes, name: str, configuration: str) -> Estimate:
    """Compile `model`, a `.tflite`, for one of `CONFIGURATIONS`.

    Raises MissingError without Vela, ArtifactError where it does not compile.
    """
    if importlib.util.find_spec("ethosu") is None:
        raise MissingError("Vela is not installed: pip install 'tledge[microcontroller]'")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "model.tflite"
        source.write_bytes(model)
        _compile(source, name, CONFIGURATIONS[configuration])
        (summary,) = Path(scratch).glob("model_summary_*.csv")
        with summary.open(encoding="utf-8", newline="") as lines:
            (row,) = csv.DictReader(lines)
        compiled = Path(scratch, "model_vela.tflite").read_bytes()
    return _estimate(configuration, row, compiled)


def _compile(source: Path, name: str, wanted: Configuration) -> None:
    """Vela in its own process, which leaves a `.csv` and a compiled model beside `source`."""
    options = {
        "--accelerator-config": wanted.accelerator,
        "--config": "Arm/vela.ini",
        "--system-config": wanted.system,
        "--memory-mode": wanted.memory,
        "--output-dir": str(source.parent),
    }
    flags = [part for option in options.items() for part in option]
    command = [sys.executable, "-m", "ethosu.vela", str(source), *flags]
    done = subprocesses.run_with_timeout(command, f"{name}: Vela")
    if done.returncode:
        why = subprocesses.describe_exit(done.returncode, done.stdout + done.stderr)
        raise ArtifactError(f"{name}: Vela does not compile it for {wanted.accelerator}. It {why}")


def _estimate(configuration: str, row: dict[str, str], compiled: bytes) -> Estimate:
    """Figures of Vela's summary; what is left on the CPU from the compiled file itself.

    Vela ends with exit code 0 where it compiled nothing at all.
    """
    flash = float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])
    left = Counter(one.name for one in operators(compiled, "model_vela.tflite") if one.name != NPU)
    return Estimate(
        configuration,
        sram_bytes=round(float(row["sram_memory_used"]) * 1024),
        flash_bytes=round(flash * 1024),
        cycles=round(float(row["cycles_total"])),
        clock_mhz=float(row["core_clock"]) / 1e6,
        milliseconds=float(row["inference_time"]) * 1e3,
        on_cpu=dict(sorted(left.items())),
    )
