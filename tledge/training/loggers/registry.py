"""Turn the recipe's [log] table into observers of a training's epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.training.callbacks import Observer
from tledge.training.loggers import mlflow_logger, tensorboard
from tledge.training.multi_host import Hosts


def require(recipe: Recipe) -> None:
    """Raise MissingError where a logger of the recipe is not installed; call it before training."""
    if recipe.log.mlflow:
        mlflow_logger.library()


@contextmanager
def observers(recipe: Recipe, folder: RunFolder, hosts: Hosts) -> Iterator[tuple[Observer, ...]]:
    """Yield the observers to call after every epoch; only the first of several processes has any."""
    loggers: list[Observer] = []
    with ExitStack() as stack:
        if hosts.writes and recipe.log.tensorboard:
            loggers.append(tensorboard.ScalarLogger(folder))
        if hosts.writes and recipe.log.mlflow:
            loggers.append(stack.enter_context(mlflow_logger.recorded(recipe, folder)))
        yield tuple(loggers)
