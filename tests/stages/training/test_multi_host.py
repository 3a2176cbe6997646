"""TensorFlow is refused where several processes train."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command_line import Cli
from tests.helpers.processes import HERE


def test_tensorflow_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Keras runs on TensorFlow in this process."""
    where = ["--coordinator", HERE, "--processes", 2, "--process", 1]
    done = cli("train", "quickstart", "--out", tmp_path / "run", *where)
    assert done.code == 2 and "set KERAS_BACKEND=jax" in done.err
    assert not (tmp_path / "run").exists()
