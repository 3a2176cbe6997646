"""A training as a run of MLflow: the recipe as parameters, every epoch's figures, scores and plots.

MLflow decides where that goes (MLFLOW_TRACKING_URI); the experiment has the recipe's name. Where
training is killed and resumed, the same MLflow run goes on.
"""

from __future__ import annotations

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
"""Beside the checkpoint: which MLflow run goes on."""

FILES = ("recipe.toml", "environment.json", "history.csv", "run.json", "curves.png", "confusion.png")
"""What MLflow keeps of the run folder; the model stays here."""

AT_ONCE = 100
"""Parameters that MLflow takes in one request."""


def library() -> Any:
    """MLflow; raises MissingError where it is not installed."""
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
    """An observer of epochs; when the block ends, the finished run's scores and plots go to MLflow too.

    Ends the MLflow run as FAILED where the block raises.
    """
    mlflow = library()
    begun = folder.checkpoints / KEPT
    known = files.read_json(begun, "an unfinished run", "Start over with --force.") if begun.is_file() else {}
    mlflow.set_experiment(recipe.meta.name)
    started = mlflow.start_run(run_id=known.get("run_id"), run_name=folder.path.name)
    files.write_json(begun, {"run_id": started.info.run_id})
    try:
        if not known:
            _tell_recipe(mlflow, recipe)
        yield lambda history: mlflow.log_metrics(_figures(history[-1]), step=len(history))
        _tell_scores(mlflow, folder)
    except BaseException:
        mlflow.end_run("FAILED")
        raise
    mlflow.end_run()


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("stage", "epoch")}


def _tell_recipe(mlflow: Any, recipe: Recipe) -> None:
    """Every key under the name that --set takes."""
    keys = list(flat(recipe.as_tables()).items())
    for start in range(0, len(keys), AT_ONCE):
        mlflow.log_params(dict(keys[start : start + AT_ONCE]))
    mlflow.set_tags({"tledge": __version__, "synthetic": recipe.synthetic})


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as one: `{"stage.0.epochs": 5}`."""
    if isinstance(value, Mapping):
        parts = {str(name): one for name, one in value.items()}
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        parts = {str(number): one for number, one in enumerate(value)}
    else:
        return {path: value}
    made: dict[str, Any] = {}
    for name, one in parts.items():
        made |= flat(one, f"{path}.{name}" if path else name)
    return made


def _tell_scores(mlflow: Any, folder: RunFolder) -> None:
    run = folder.read_run()
    scores = {"validation": run.validation, "test": run.test}
    mlflow.log_metrics({f"final_{name}_accuracy": score.accuracy for name, score in scores.items()})
    for path in (folder.path / name for name in FILES):
        mlflow.log_artifact(str(path))
