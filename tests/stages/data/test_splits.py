"""Slices are those of TensorFlow Datasets."""

from __future__ import annotations

import numpy as np

from tests.helpers.split_data import data
from tledge.data import splits


def test_slices_match_tensorflow_datasets() -> None:
    from tensorflow_datasets.core import splits as known

    rng = np.random.default_rng(0)
    for _ in range(400):
        count = int(rng.integers(1, 300))
        low, high = (f"{number}%" for number in rng.integers(-99, 100, 2).tolist())
        text = f"train[{low if rng.random() < 0.8 else ''}:{high}]"
        info = known.SplitInfo(name="train", shard_lengths=[count], num_bytes=0, filename_template=None)
        (wanted,) = known.ReadInstruction.from_spec(text).to_absolute({"train": info})
        take = data(text, "a", "b").splits.train
        assert splits._slice(np.arange(count), "train", take).tolist() == [
            *range(*slice(wanted.from_, wanted.to).indices(count))
        ], (text, count)
