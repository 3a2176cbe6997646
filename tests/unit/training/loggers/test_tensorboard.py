"""TensorBoard's files grow with a training."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.event_logs import HISTORY, contents
from tledge.run.folder import RunFolder
from tledge.training.loggers import event_file, tensorboard


def test_scalars_grow_by_a_row(tmp_path: Path) -> None:
    """What stands there is left as it is, since a TensorBoard may be reading."""
    log, folder = tensorboard.ScalarLogger(RunFolder(tmp_path)), tmp_path / "tensorboard" / "train"
    for count in (1, 2, 3):
        before = (folder / event_file.NAME).stat().st_ino if folder.exists() else None
        log(HISTORY[:count])
        assert before in (None, (folder / event_file.NAME).stat().st_ino)
        assert len(contents(folder / event_file.NAME)) == 1 + count
    grown = (folder / event_file.NAME).read_bytes()
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    assert (folder / event_file.NAME).read_bytes() == grown


def test_scalars_begin_again_with_their_stage(tmp_path: Path) -> None:
    """After --resume, and where a stage begins again in smaller pieces, no epoch is there twice."""
    log, path = (
        tensorboard.ScalarLogger(RunFolder(tmp_path)),
        tmp_path / "tensorboard/validation" / event_file.NAME,
    )
    for rows in (HISTORY[:1], HISTORY, HISTORY[:2]):
        log(rows)
        assert len(contents(path)) == 1 + len(rows)
    path.write_bytes(path.read_bytes()[:-5])  # killed while writing
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    assert len(contents(path)) == 4
