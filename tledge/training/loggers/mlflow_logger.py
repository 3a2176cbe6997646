"""Log a training as an MLflow run: the recipe as parameters, every epoch's figures, scores and plots.

MLflow decides where they are stored (MLFLOW_TRACKING_URI); the experiment has the recipe's name. A
training that is killed and resumed continues the same MLflow run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tledge._io import files
from tledge._process.optional_imports import Needs
from tledge._version import __version__
from tledge.errors import MissingError
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder

NEEDS = Needs(("mlflow",), "pip install mlflow")

KEPT = "mlflow.json"
"""The file beside the checkpoint that says which MLflow run to continue."""

FILES = ("recipe.toml", "environment.json", "history.csv", "run.json", "curves.png", "confusion.png")
"""The files of the run folder that MLflow keeps; the model is not among them."""

PER_REQUEST = 100
"""Parameters that MLflow accepts in one request."""


TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"
"""The variable by which MLflow does not report its use to its makers, which it does otherwise."""


def library() -> Any:
    """Import MLflow, without its telemetry; raise MissingError where it is not installed."""
    os.environ.setdefault(TELEMETRY, "true")
    try:
        import mlflow
    except ImportError as error:
        raise MissingError(
            f"[log] mlflow: MLflow is not installed or does not load ({error}): {NEEDS.command}, "
            "or leave the key out."
        ) from error
    return mlflow


@contextmanager
def recorded(recipe: Recipe, folder: RunFolder) -> Iterator[Any]:
    """Yield an observer that logs every epoch; log the finished run's scores and plots after the block.

    Where the block raises, the MLflow run ends as FAILED.

    Raises:
        MissingError: MLflow is not installed.
    """
    mlflow = library()
    path = folder.checkpoints / KEPT
    previous = (
        files.read_json(path, "an unfinished run", "Start over with --force.") if path.is_file() else {}
    )
    mlflow.set_experiment(recipe.meta.name)
    started = mlflow.start_run(run_id=previous.get("run_id"), run_name=folder.path.name)
    files.write_json(path, {"run_id": started.info.run_id})
    try:
        if not previous:
            _log_recipe(mlflow, recipe)
        yield lambda history: mlflow.log_metrics(_figures(history[-1]), step=len(history))
        _log_scores(mlflow, folder)
    except BaseException:
        mlflow.end_run("FAILED")
        raise
    mlflow.end_run()


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("stage", "epoch")}


def _log_recipe(mlflow: Any, recipe: Recipe) -> None:
    """Log every key of the recipe under the name that --set takes."""
    keys = list(flat(recipe.as_tables()).items())
    for start in range(0, len(keys), PER_REQUEST):
        mlflow.log_params(dict(keys[start : start + PER_REQUEST]))
    mlflow.set_tags({"tledge": __version__, "synthetic": recipe.synthetic})


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested tables and lists of tables: `{"stage.0.epochs": 5}`."""
    if isinstance(value, Mapping):
        parts = {str(name): part for name, part in value.items()}
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        parts = {str(number): part for number, part in enumerate(value)}
    else:
        return {path: value}
    flattened: dict[str, Any] = {}
    for name, part in parts.items():
        flattened |= flat(part, f"{path}.{name}" if path else name)
    return flattened


def _log_scores(mlflow: Any, folder: RunFolder) -> None:
    run = folder.read_run()
    scores = {"validation": run.validation, "test": run.test}
    mlflow.log_metrics({f"final_{name}_accuracy": score.accuracy for name, score in scores.items()})
    for path in (folder.path / name for name in FILES):
        mlflow.log_artifact(str(path))
