"""A conversion to ask for."""

from pathlib import Path

from tledge.conversion.worker_client import Conversion
from tledge.formats.jobs import ConversionTarget, UncalibratedJob


def conversion(folder: Path, timeout: int = 20) -> Conversion:
    out = str(folder / "artifacts" / "out")
    target = ConversionTarget("model.keras", out, "fp32", "net", "1", "", ("a", "b"))
    return Conversion("tflite-fp32", UncalibratedJob(target), folder / "logs" / "tflite-fp32.log", timeout)
