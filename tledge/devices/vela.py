"""Estimate a model on Ethos-U with Arm's Vela compiler: memory, cycles, operators on the CPU."""

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
"""The custom operator that replaces all operators compiled for the accelerator."""


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
"""Configurations by name: the model in flash and everything else in SRAM, as in a microcontroller."""


@dataclass(frozen=True)
class Estimate:
    """Vela's figures for one configuration: estimates of a compiler, not measured on a device.

    `sram_bytes` and `flash_bytes` are those of the compiled model; `cycles` are the accelerator's for
    one image at `clock_mhz`; `on_cpu` counts the operators that it cannot run, by name.
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


def _compile(source: Path, name: str, target: Configuration) -> None:
    """Run Vela in its own process; it writes a `.csv` and a compiled model beside `source`."""
    options = {
        "--accelerator-config": target.accelerator,
        "--config": "Arm/vela.ini",
        "--system-config": target.system,
        "--memory-mode": target.memory,
        "--output-dir": str(source.parent),
    }
    flags = [part for option in options.items() for part in option]
    command = [sys.executable, "-m", "ethosu.vela", str(source), *flags]
    done = subprocesses.run_with_timeout(command, f"{name}: Vela")
    if done.returncode:
        reason = subprocesses.describe_exit(done.returncode, done.stdout + done.stderr)
        raise ArtifactError(f"{name}: Vela does not compile it for {target.accelerator}. It {reason}")


def _estimate(configuration: str, row: dict[str, str], compiled: bytes) -> Estimate:
    """Read Vela's summary; the operators on the CPU come from the compiled file itself.

    Vela ends with exit code 0 even where it compiled nothing.
    """
    flash = float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])
    names = (operator.name for operator in operators(compiled, "model_vela.tflite"))
    on_cpu = Counter(name for name in names if name != NPU)
    return Estimate(
        configuration,
        sram_bytes=round(float(row["sram_memory_used"]) * 1024),
        flash_bytes=round(flash * 1024),
        cycles=round(float(row["cycles_total"])),
        clock_mhz=float(row["core_clock"]) / 1e6,
        milliseconds=float(row["inference_time"]) * 1e3,
        on_cpu=dict(sorted(on_cpu.items())),
    )
