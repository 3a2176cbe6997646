"""TensorBoard's files, read back by TensorBoard, and by TensorFlow as TFRecord files of its own messages."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.small_run import SMALL

from tledge import event_files, event_log, recipe
from tledge.runs import RunFolder


def row(stage: str, epoch: int, seconds: float, *figures: float) -> dict[str, Any]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {"stage": stage, "epoch": epoch, **dict(zip(names, figures, strict=True)), "seconds": seconds}


HISTORY = [
    row("head", 1, 2.0, 1.5, 0.5, 1.25, 0.625),
    row("head", 2, 1.5, 1.0, 0.75, 1.125, 0.5),
    row("all", 1, 4.0, 0.5, 1.0, 1.0, 0.75),
]


def png(width: int = 5, height: int = 3) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 9)).save(out, "PNG")
    return out.getvalue()


def contents(path: Path) -> list[bytes]:
    """The records of a file; lengths and checksums are those of the format."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        assert data[8:12] == event_files._checksum(data[:8])
        assert data[12 + length : 16 + length] == event_files._checksum(found[-1])
        data = data[16 + length :]
    return found


def test_checksum_is_crc_32c() -> None:
    """The check value of CRC-32C, E3069283 of the digits 1 to 9, masked as TFRecord says."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert event_files._checksum(b"123456789") == struct.pack("<I", masked)


@pytest.mark.parametrize(("value", "wanted"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02")])
def test_varint_is_protobufs(value: int, wanted: str) -> None:
    assert event_files._varint(value).hex() == wanted


def test_file_begins_with_its_version(tmp_path: Path) -> None:
    event_files.write(tmp_path / "a", [event_files.scalars(1, 2.0, {"loss": 0.5})])
    first, second = contents(tmp_path / "a")
    assert b"brain.Event:2" in first and b"loss" in second


def test_scalars_grow_by_a_row(tmp_path: Path) -> None:
    """What stands there is left as it is, since a TensorBoard may be reading."""
    log, folder = event_log.Scalars(RunFolder(tmp_path)), tmp_path / "tensorboard" / "train"
    for count in (1, 2, 3):
        before = (folder / event_files.NAME).stat().st_ino if folder.exists() else None
        log(HISTORY[:count])
        assert before in (None, (folder / event_files.NAME).stat().st_ino)
        assert len(contents(folder / event_files.NAME)) == 1 + count
    grown = (folder / event_files.NAME).read_bytes()
    event_log.Scalars(RunFolder(tmp_path))(HISTORY)
    assert (folder / event_files.NAME).read_bytes() == grown


def test_scalars_begin_again_with_their_stage(tmp_path: Path) -> None:
    """After --resume, and where a stage begins again in smaller pieces, no epoch is there twice."""
    log, path = event_log.Scalars(RunFolder(tmp_path)), tmp_path / "tensorboard/validation" / event_files.NAME
    for rows in (HISTORY[:1], HISTORY, HISTORY[:2]):
        log(rows)
        assert len(contents(path)) == 1 + len(rows)
    path.write_bytes(path.read_bytes()[:-5])  # killed while writing
    event_log.Scalars(RunFolder(tmp_path))(HISTORY)
    assert len(contents(path)) == 4


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()


@pytest.mark.slow
def test_tensorboard_reads_scalars(tmp_path: Path) -> None:
    event_log.Scalars(RunFolder(tmp_path))(HISTORY)
    train, validation = (read(tmp_path / "tensorboard" / part) for part in event_log.PARTS)
    assert set(train.Tags()["scalars"]) == {"loss", "accuracy", "seconds", "stage"}
    assert set(validation.Tags()["scalars"]) == {"loss", "accuracy"}
    found = [(one.step, one.value, one.wall_time) for one in train.Scalars("accuracy")]
    assert found == [(1, 0.5, 2.0), (2, 0.75, 3.5), (3, 1.0, 7.5)]
    assert [one.value for one in validation.Scalars("loss")] == [1.25, 1.125, 1.0]
    assert [one.value for one in train.Scalars("stage")] == [1, 1, 2]


@pytest.mark.slow
def test_open_tensorboard_sees_the_next_epoch(tmp_path: Path) -> None:
    log = event_log.Scalars(RunFolder(tmp_path))
    log(HISTORY[:1])
    opened = read(tmp_path / "tensorboard" / "train")
    log(HISTORY[:2])
    assert [one.step for one in opened.Reload().Scalars("loss")] == [1, 2]


@pytest.mark.slow
def test_tensorboard_reads_pictures(tmp_path: Path) -> None:
    event_files.write(tmp_path / event_files.NAME, [event_files.image(7, 1.0, "hands", png())])
    (found,) = read(tmp_path).Images("hands")
    assert (found.step, found.width, found.height, found.encoded_image_string) == (7, 5, 3, png())


@pytest.mark.slow
def test_tensorboard_notices_a_changed_byte(tmp_path: Path) -> None:
    """So what it read above, it did check."""
    event_log.Scalars(RunFolder(tmp_path))(HISTORY)
    path = tmp_path / "tensorboard" / "train" / event_files.NAME
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert len(read(path.parent).Scalars("loss")) == 2


@pytest.mark.slow
def test_graph_has_the_layers() -> None:
    from tests.helpers.fake_models import small_net
    from tensorflow.core.framework.graph_pb2 import GraphDef

    net = small_net()
    made = event_log.graph(net)
    places = (node.name.split("/") for node in GraphDef.FromString(made).node)
    names = {place[1].removesuffix("_1") for place in places if len(place) > 1}  # Keras enters a scope twice
    assert {layer.name for layer in net.layers if layer.weights} <= names
    assert len(made) < 200_000, "weights are not in it"


@pytest.mark.slow
def test_run_holds_logs(small_run: Path) -> None:
    folder = small_run / "tensorboard"
    assert len(read(folder / "train").Scalars("loss")) == 14
    whole = read(folder)
    (matrix,) = whole.Images("confusion")
    assert matrix.encoded_image_string == (small_run / "confusion.png").read_bytes()
    assert b"logits" in whole.Graph().SerializeToString()


@pytest.mark.slow
def test_augmented_photos_are_shown(small_run: Path) -> None:
    from PIL import Image

    from tledge import evidence

    made = recipe.parse(SMALL + '[augment]\nflip = "horizontal"\n', "small.toml")
    prepared = evidence.photos(made, RunFolder(small_run).read_run())
    sheet = event_log._augmented(made, prepared, np.arange(30))
    assert Image.open(io.BytesIO(sheet)).width > 300
    assert event_log._augmented(recipe.parse(SMALL, "small.toml"), prepared, np.arange(30)) == b""
