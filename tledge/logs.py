"""Who is told of a training while it runs: `[log]` as observers of its epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tledge import event_log, mlflow_log
from tledge.distribution import Hosts
from tledge.fitting import Observer
from tledge.recipe.loader import Recipe
from tledge.run.folder import RunFolder


def require(recipe: Recipe) -> None:
    """Raise MissingError, before anything is trained, where what the recipe asks for is not installed."""
    if recipe.log.mlflow:
        mlflow_log.library()


@contextmanager
def observers(recipe: Recipe, folder: RunFolder, hosts: Hosts) -> Iterator[tuple[Observer, ...]]:
    """What to tell after every epoch, while the block lasts; of several processes the first tells."""
    told: list[Observer] = []
    with ExitStack() as stack:
        if hosts.writes and recipe.log.tensorboard:
            told.append(event_log.Scalars(folder))
        if hosts.writes and recipe.log.mlflow:
            told.append(stack.enter_context(mlflow_log.recorded(recipe, folder)))
        yield tuple(told)
