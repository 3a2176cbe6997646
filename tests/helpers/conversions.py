"""Conversions of a run's model after a change to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.small_run import record


def converted(run: Path, variant: str, change: Callable[[Any], None], **job: Any) -> None:
    """Convert the run's model again after `change`, as if the export had made it so."""
    from tledge.formats.base import ConversionJob
    from tledge.formats.registry import VARIANTS
    from tledge.models import classifier
    from tledge.run.folder import RunFolder

    trained = RunFolder(run).read_run()
    keras_model = classifier.load(run / "model.keras")
    change(keras_model)
    faulty = run / "faulty.keras"
    classifier.save(keras_model, faulty)
    chosen = VARIANTS[variant]
    facts: dict[str, Any] = {
        "labels": trained.labels,
        "calibration": str(run / "evidence" / "calibration.npy"),
        **job,
    }
    out = str(run / "artifacts" / chosen.filename)
    chosen.format.convert(ConversionJob(str(faulty), out, chosen.mode_name, "small", "1", "", **facts))
    record(run, variant)
