"""Where a record lies in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tledge.data.sources import tfrecord_offsets
from tledge.errors import DataError


def test_place_in_a_record_file(tmp_path: Path) -> None:
    contents = [b"first photo", b"", b"head second photo tail"]
    framed = (len(one).to_bytes(8, "little") + b"crc1" + one + b"crc2" for one in contents)
    path = tmp_path / "a.tfrec"
    path.write_bytes(b"".join(framed))
    for number, photo in ((0, b"photo"), (2, b"second photo")):
        assert tfrecord_offsets.read(path, tfrecord_offsets.find(path, number, photo), len(photo)) == photo
    with pytest.raises(DataError, match=r"a\.tfrec, record 1: its photo is not where it should be"):
        tfrecord_offsets.find(path, 1, b"photo")
