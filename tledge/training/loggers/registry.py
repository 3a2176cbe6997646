"""Who is told of a training while it runs: `[log]` as observers of its epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.training.callbacks import Observer
from tledge.training.loggers import mlflow_logger, tensorboard
from tledge.training.multi_host import Hosts


def require(recipe: Recipe) -> None:
    """Raise MissingError, before anything is trained, where what the recipe asks for is not installed."""
    if recipe.log.mlflow:
        mlflow_logger.library()


@contextmanager
def observers(recipe: Recipe, folder: RunFolder, hosts: Hosts) -> Iterator[tuple[Observer, ...]]:
    """What to tell after every epoch, while the block lasts; of several processes the first tells."""
    told: list[Observer] = []
    with ExitStack() as stack:
        if hosts.writes and recipe.log.tensorboard:
            told.append(tensorboard.ScalarLogger(folder))
        if hosts.writes and recipe.log.mlflow:
            told.append(stack.enter_context(mlflow_logger.recorded(recipe, folder)))
        yield tuple(told)
