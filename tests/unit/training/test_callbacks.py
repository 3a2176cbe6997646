"""The best epoch and patience, the message where a loss is not a number, and errors of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import fake_keras
from tledge import config
from tledge.errors import DataError
from tledge.training import callbacks, checkpoint
from tledge.training.batch_partition import BatchPartition
from tledge.training.batches import BatchMaker, BatchReader, Examples


def test_best_epoch_and_patience() -> None:
    stage, state = config.Stage(patience=2), checkpoint.State()
    better = [
        callbacks.update_best_epoch(stage, state, {"val_loss": loss}, epoch)
        for epoch, loss in enumerate((0.9, 0.5, 0.6, 0.7), 1)
    ]
    assert better == [True, True, False, False]
    assert state.best_epoch == 2 and state.stopped and state.epoch == 4


def test_half_precision_is_among_what_to_try() -> None:
    message = callbacks._not_a_number_message(
        config.Stage(name="all"), checkpoint.State(stage=1), "in epoch 1", "float16"
    )
    assert 'precision = "float32"' in message and "--set stage.1.learning_rate=0.0001" in message


def test_the_error_of_a_batch_replaces_that_of_the_backend() -> None:
    examples = Examples(np.zeros((4, 2, 2, 3), np.uint8), np.eye(4, dtype=np.float32), np.arange(4))
    reader = BatchReader(BatchMaker(examples, BatchPartition(2)), epoch=0)
    with pytest.raises(ValueError, match="wrapped"), callbacks.own_error(reader):
        raise ValueError("wrapped")
    reader.error = DataError("photo-7 is gone")
    with pytest.raises(DataError, match="photo-7"), callbacks.own_error(reader):
        raise ValueError("wrapped")


@pytest.mark.parametrize(("restore_best", "wanted"), [(True, 2.0), (False, 3.0)])
def test_weights_of_the_best_epoch_are_restored(
    restore_best: bool, wanted: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three epochs is the best; without `restore_best` the last one counts."""
    fake_keras.install(monkeypatch)
    network, path = fake_keras.Network(), tmp_path / "state.npz"
    stage = config.Stage(epochs=3, restore_best=restore_best)
    keeper = callbacks.keep_best(network, stage, checkpoint.State(), path)
    keeper.model = network
    for epoch, loss in enumerate((0.9, 0.5, 0.7)):
        keeper.on_epoch_begin(epoch)
        network.weight.assign([epoch + 1.0, 0.0])
        keeper.on_epoch_end(epoch, {"val_loss": loss})
    keeper.finish()
    assert network.weight.value.tolist() == [wanted, 0.0]
    (kept,) = checkpoint.load_checkpoint(path, network)
    assert kept.tolist() == [wanted, 0.0], "and a resumed stage knows them"
    assert network.weight.value.tolist() == [3.0, 0.0], "while it continues from the last epoch"


def test_a_stage_stops_where_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras.install(monkeypatch)
    network, state = fake_keras.Network(), checkpoint.State()
    seen: list[int] = []
    keeper = callbacks.keep_best(
        network,
        config.Stage(patience=1),
        state,
        tmp_path / "state.npz",
        [lambda rows: seen.append(len(rows))],
    )
    keeper.model = network
    for epoch, loss in enumerate((0.5, 0.6)):
        assert not network.stop_training
        keeper.on_epoch_begin(epoch)
        keeper.on_epoch_end(epoch, {"val_loss": loss})
    assert network.stop_training and seen == [1, 2]
    assert checkpoint.read_state(tmp_path / "state.npz") == state
