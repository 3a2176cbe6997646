"""TensorBoard's files of a training, read back by TensorBoard and by TensorFlow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.event_logs import HISTORY
from tests.helpers.small_run import SMALL
from tledge.recipe import loader
from tledge.run.folder import RunFolder
from tledge.training.loggers import event_file, tensorboard


def png(width: int = 5, height: int = 3) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 9)).save(out, "PNG")
    return out.getvalue()


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()


def test_tensorboard_reads_scalars(tmp_path: Path) -> None:
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    train, validation = (read(tmp_path / "tensorboard" / part) for part in tensorboard.PARTS)
    assert set(train.Tags()["scalars"]) == {"loss", "accuracy", "seconds", "stage"}
    assert set(validation.Tags()["scalars"]) == {"loss", "accuracy"}
    found = [(one.step, one.value, one.wall_time) for one in train.Scalars("accuracy")]
    assert found == [(1, 0.5, 2.0), (2, 0.75, 3.5), (3, 1.0, 7.5)]
    assert [one.value for one in validation.Scalars("loss")] == [1.25, 1.125, 1.0]
    assert [one.value for one in train.Scalars("stage")] == [1, 1, 2]


def test_open_tensorboard_sees_the_next_epoch(tmp_path: Path) -> None:
    log = tensorboard.ScalarLogger(RunFolder(tmp_path))
    log(HISTORY[:1])
    opened = read(tmp_path / "tensorboard" / "train")
    log(HISTORY[:2])
    assert [one.step for one in opened.Reload().Scalars("loss")] == [1, 2]


def test_tensorboard_reads_pictures(tmp_path: Path) -> None:
    event_file.write(tmp_path / event_file.NAME, [event_file.image(7, 1.0, "hands", png())])
    (found,) = read(tmp_path).Images("hands")
    assert (found.step, found.width, found.height, found.encoded_image_string) == (7, 5, 3, png())


def test_tensorboard_notices_a_changed_byte(tmp_path: Path) -> None:
    """So what it read above, it did check."""
    tensorboard.ScalarLogger(RunFolder(tmp_path))(HISTORY)
    path = tmp_path / "tensorboard" / "train" / event_file.NAME
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert len(read(path.parent).Scalars("loss")) == 2


def test_graph_has_the_layers() -> None:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    from tests.helpers.fake_models import small_net

    net = small_net()
    made = tensorboard.graph(net)
    places = (node.name.split("/") for node in GraphDef.FromString(made).node)
    names = {place[1].removesuffix("_1") for place in places if len(place) > 1}  # Keras enters a scope twice
    assert {layer.name for layer in net.layers if layer.weights} <= names
    assert len(made) < 200_000, "weights are not in it"


def test_run_holds_logs(small_run: Path) -> None:
    folder = small_run / "tensorboard"
    assert len(read(folder / "train").Scalars("loss")) == 14
    whole = read(folder)
    (matrix,) = whole.Images("confusion")
    assert matrix.encoded_image_string == (small_run / "confusion.png").read_bytes()
    assert b"logits" in whole.Graph().SerializeToString()


def test_augmented_photos_are_shown(small_run: Path) -> None:
    from PIL import Image

    from tledge.conversion import calibration_data

    made = loader.parse(SMALL + '[augment]\nflip = "horizontal"\n', "small.toml")
    prepared = calibration_data.open_photos(made, RunFolder(small_run).read_run())
    sheet = tensorboard._augmented(made, prepared, np.arange(30))
    assert Image.open(io.BytesIO(sheet)).width > 300
    assert tensorboard._augmented(loader.parse(SMALL, "small.toml"), prepared, np.arange(30)) == b""
