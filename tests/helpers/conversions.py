"""Conversions of a run's model after a change to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.small_run import record


def converted(
    run: Path, variant: str, change: Callable[[Any], None], labels: tuple[str, ...] | None = None
) -> None:
    """Convert the run's model again after `change`, as if the export had made it so."""
    from tledge.formats.jobs import CalibratedJob, ConversionTarget, UncalibratedJob
    from tledge.formats.registry import VARIANTS
    from tledge.models import classifier
    from tledge.run.folder import RunFolder

    keras_model = classifier.load(run / "model.keras")
    change(keras_model)
    faulty = run / "faulty.keras"
    classifier.save(keras_model, faulty)
    chosen = VARIANTS[variant]
    out = str(run / "artifacts" / chosen.filename)
    labels = RunFolder(run).read_run().labels if labels is None else labels
    target = ConversionTarget(str(faulty), out, chosen.mode_name, "small", "1", "", labels)
    calibrated = CalibratedJob(target, str(run / "evidence" / "calibration.npy"))
    chosen.format.convert(calibrated if chosen.mode.calibrated else UncalibratedJob(target))
    record(run, variant)
