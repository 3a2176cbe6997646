"""Conversions of a run's model after a change to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.small_run import record


def converted(run: Path, variant: str, change: Callable[[Any], None], **job: Any) -> None:
    """Convert the run's model again after `change`, as if the export had made it so."""
    from tledge import model
    from tledge.formats import VARIANTS
    from tledge.formats.base import Job
    from tledge.runs import RunFolder

    trained = RunFolder(run).read_run()
    keras_model = model.load(run / "model.keras")
    change(keras_model)
    faulty = run / "faulty.keras"
    model.save(keras_model, faulty)
    chosen = VARIANTS[variant]
    facts: dict[str, Any] = {
        "labels": trained.labels,
        "calibration": str(run / "evidence" / "calibration.npy"),
        **job,
    }
    out = str(run / "artifacts" / chosen.filename)
    chosen.format.convert(Job(str(faulty), out, chosen.mode_name, "small", "1", "", **facts))
    record(run, variant)
