"""A stage: the best epoch and patience, and what is said of numbers that are none."""

from __future__ import annotations

from tledge import config
from tledge.training import callbacks, checkpoint


def test_best_epoch_and_patience() -> None:
    stage, state = config.Stage(patience=2), checkpoint.State()
    better = [
        callbacks.update_best_epoch(stage, state, {"val_loss": loss}, epoch)
        for epoch, loss in enumerate((0.9, 0.5, 0.6, 0.7), 1)
    ]
    assert better == [True, True, False, False]
    assert state.best_epoch == 2 and state.stopped and state.epoch == 4


def test_half_precision_is_among_what_to_try() -> None:
    said = callbacks._not_a_number_message(
        config.Stage(name="all"), checkpoint.State(stage=1), "in epoch 1", "float16"
    )
    assert 'precision = "float32"' in said and "--set stage.1.learning_rate=0.0001" in said
