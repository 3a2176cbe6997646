"""A conversion to ask for."""

from pathlib import Path

from tledge.conversion.worker_client import Conversion
from tledge.formats.base import ConversionJob


def conversion(folder: Path, timeout: int = 20) -> Conversion:
    job = ConversionJob("model.keras", str(folder / "artifacts" / "out"), "fp32", "net", "1", "", ("a", "b"))
    return Conversion("tflite-fp32", job, folder / "logs" / "tflite-fp32.log", timeout)
