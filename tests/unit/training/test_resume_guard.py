"""Which finished or begun run a training goes on in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.run_records import RUN
from tledge._io import files
from tledge.errors import RunError
from tledge.run.folder import RunFolder


def test_finished_training_is_resumed_for_nothing(tmp_path: Path) -> None:
    """Killed after its last file was written, or in the hands of a scheduler that always resumes."""
    from tledge.recipe import lookup
    from tledge.training import pipeline

    recipe, text = lookup.read_recipe("quickstart", ())
    folder = RunFolder(tmp_path / "run")
    files.write_json(folder.run, RUN)
    files.write_json(folder.environment, {"settings": []})
    files.write_text(folder.recipe, text)
    folder.checkpoints.mkdir()
    assert pipeline.train(recipe, text, folder.path, resume=True) == RUN
    assert not folder.checkpoints.exists()
    with pytest.raises(RunError, match="recipe or the --set values differ from those"):
        pipeline.train(recipe, text, folder.path, resume=True, settings=("model.width=2",))
    with pytest.raises(RunError, match="holds a finished run"):
        pipeline.train(recipe, text, folder.path)
