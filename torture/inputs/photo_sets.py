"""Small sets of photos that nobody should train on, as folders, CSV files and TFRecord files."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 40
Pixels = Callable[[np.random.Generator, int], np.ndarray]
"""A photo uint8[H, W, 3] of a class, by its number."""
Counts = Mapping[str, Mapping[str, int]]
"""Photos by split and label."""


def noisy(rng: np.random.Generator, index: int) -> np.ndarray:
    """Draw a class as a colour under noise."""
    colour = np.array([(index * step + 40) % 256 for step in (83, 151, 37)])
    return (colour + rng.integers(-30, 31, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def grey(_rng: np.random.Generator, _index: int) -> np.ndarray:
    """Draw the same grey for every class."""
    return np.full((SIDE, SIDE, 3), 128, np.uint8)


def black(_rng: np.random.Generator, _index: int) -> np.ndarray:
    """Draw black, as a lens cap gives."""
    return np.zeros((SIDE, SIDE, 3), np.uint8)


def flat(_rng: np.random.Generator, index: int) -> np.ndarray:
    """Draw one colour for each class, so that its photos are equal in all splits."""
    return np.full((SIDE, SIDE, 3), (80 * index + 10) % 256, np.uint8)


def encoded(pixels: np.ndarray) -> bytes:
    """Encode pixels as a PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_folder(root: Path, counts: Counts, pixels: Pixels = noisy) -> str:
    """Write photos as <split>/<label>/photo, the same for the same counts; return the source's name.

    A label may be given as bytes that are no UTF-8, in Python's surrogates.
    """
    rng = np.random.default_rng(1)
    for split, labels in counts.items():
        for index, (label, count) in enumerate(labels.items()):
            label_folder = root / split / label
            label_folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (label_folder / f"{number:04d}.png").write_bytes(encoded(pixels(rng, index)))
    return f"folder:{root}"


def write_csv(root: Path, labels: Sequence[str], per_label: int = 12) -> str:
    """Write photos and a CSV file that names their labels, whatever letters these have."""
    rng = np.random.default_rng(2)
    rows = [("path", "label", "split")]
    root.mkdir(parents=True, exist_ok=True)
    for index, label in enumerate(labels):
        for number in range(per_label):
            name = f"{index}-{number:04d}.png"
            (root / name).write_bytes(encoded(noisy(rng, index)))
            rows.append((name, label, "test" if number < per_label // 3 else "train"))
    with (root / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return f"csv:{root / 'photos.csv'}"


def write_tfrecord(root: Path, indices: Sequence[int]) -> str:
    """Write a TFRecord file of photos whose labels are these numbers."""
    rng = np.random.default_rng(3)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "photos.tfrec").open("wb") as file:
        for index in indices:
            data = _example(encoded(noisy(rng, index % 7)), index)
            head = struct.pack("<Q", len(data))
            file.write(head + _masked(head) + data + _masked(data))
    return f"tfrecord:{root / 'photos.tfrec'}"


def _example(photo: bytes, index: int) -> bytes:
    """Build a `tf.train.Example` in protobuf's wire format: features 1, entry 1, key 1, value 2."""
    image = _field(1, b"image") + _field(2, _field(1, _field(1, photo)))
    label = _field(1, b"class") + _field(2, _field(3, _field(1, _varint(index))))
    return _field(1, _field(1, image) + _field(1, label))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """Encode seven bits a byte; a negative number as 64 bits."""
    remaining, out = number % (1 << 64), bytearray()
    while remaining > 127:
        out.append(remaining & 127 | 128)
        remaining >>= 7
    return bytes([*out, remaining])


def _masked(data: bytes) -> bytes:
    """Compute TFRecord's checksum: CRC-32C, turned by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc_of(byte: int) -> int:
    for _bit in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]
