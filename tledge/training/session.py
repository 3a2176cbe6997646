"""What the stages of one training share, and what one stage trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge.config import Stage
from tledge.data.cache import Prepared
from tledge.progress import Progress
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.training.accelerators import Engine
from tledge.training.batches import Examples
from tledge.training.callbacks import Observer
from tledge.training.distillation import DistillationSetup
from tledge.training.multi_host import Hosts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingSession:
    """Everything that the stages of one training share; only the weights of `core` change.

    `core` is the network that becomes the run's model. `rows` int64[N] of `prepared` belong to each
    split, and `examples` are those of the splits "train" and "validation".
    """

    recipe: Recipe
    folder: RunFolder
    prepared: Prepared
    rows: Mapping[str, NDArray[np.int64]]
    examples: Mapping[str, Examples]
    core: Any
    engine: Engine
    hosts: Hosts
    observers: Sequence[Observer]
    progress: Progress

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.recipe.meta.seed

    @property
    def checkpoint(self) -> Path:
        """The file that says where training stands, written after every epoch."""
        return self.folder.checkpoints / "state.npz"

    @property
    def stage_start(self) -> Path:
        """The file with the weights that the running stage began with, written after every stage."""
        return self.folder.checkpoints / "stage.npz"


@dataclass(frozen=True)
class StageInput:
    """What a stage trains, and on what.

    `network` is the session's network, the part of it behind its frozen layers, or it with
    augmentation in front; in a quantize-aware stage it is that of `distillation`.
    """

    stage: Stage
    network: Any
    train: Examples
    validation: Examples
    distillation: DistillationSetup | None = None
