"""Read everything that a run's files record: the source of its report and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tledge._io import files
from tledge.recipe import loader
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.run.records import Artifact, ParityReport, TrainedRun


@dataclass(frozen=True)
class Summary:
    """A run's files as values; None or empty for a file that it does not have, or not yet.

    `photos` is `evidence/photos.json`: counts by split and label, figures, problems.
    """

    run: TrainedRun
    environment: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None
    photos: Mapping[str, Any] = field(default_factory=dict)
    parity: ParityReport | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """The number of photos by split and label; empty where the run did not record it."""
        counts: Mapping[str, Mapping[str, int]] = self.photos.get("counts", {})
        return counts


def read(folder: RunFolder) -> Summary:
    """Read a finished run; raise RunError if it is not finished, or a file of it is damaged."""
    return Summary(
        run=folder.read_run(),
        environment=folder.read_environment() if folder.environment.is_file() else {},
        recipe=loader.of_run(folder) if folder.recipe.is_file() and folder.environment.is_file() else None,
        photos=_photos(folder),
        parity=folder.read_parity() if folder.parity.is_file() else None,
        artifacts={artifact.variant: artifact for artifact in folder.read_artifacts()},
    )


def _photos(folder: RunFolder) -> dict[str, Any]:
    """Read the photos' counts and problems; empty where the run did not note them."""
    return files.read_json(folder.data, "a whole run", "Train again.") if folder.data.is_file() else {}
