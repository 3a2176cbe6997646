"""Trainings that cannot go well: sets of photos, settings, and what has to come of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture.inputs import photo_sets

TWO_LABELS: photo_sets.Counts = {"train": {"a": 20, "b": 20}, "test": {"a": 10, "b": 10}}
VALIDATION_SPLIT = "data.splits.validation=validation"
NOTE = "Note: "


@dataclass(frozen=True)
class OddTraining:
    """A set of photos, `--set` for it, and what has to come of it.

    `words` stand in what training prints; where it is `refused`, in the error. `verified` are words
    of the verification, where the run is exported in the full set, with the `exported` exit code.
    """

    make: Callable[[Path], str]
    settings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    refused: int = 0
    exported: int = 3
    verified: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("tflite-fp32", "tflite-int8", "onnx-fp32")
    reduced: bool = False


def folder_photos(
    counts: photo_sets.Counts, pixels: photo_sets.Pixels = photo_sets.noisy
) -> Callable[[Path], str]:
    """Return a writer of such a folder of photos."""
    return lambda root: photo_sets.write_folder(root, counts, pixels)


def csv_photos(*labels: str) -> Callable[[Path], str]:
    """Return a writer of a CSV file with these labels."""
    return lambda root: photo_sets.write_csv(root, labels)


def tfrecord_photos(*indices: int) -> Callable[[Path], str]:
    """Return a writer of a TFRecord file with labels of these numbers."""
    return lambda root: photo_sets.write_tfrecord(root, indices)


def refused_label(label: str) -> OddTraining:
    """Build a training with a folder's name that no list of labels could hold."""
    return OddTraining(
        folder_photos({"train": {label: 8, "b": 8}, "test": {label: 4, "b": 4}}),
        words=("the label",),
        refused=1,
    )


RECORDS = ("data.splits.test={ from = 'train', fraction = 0.2 }",)
MISSING_LABEL = "data.on_missing_label=continue"
REFUSED = {
    "a label that validation lacks": OddTraining(
        folder_photos(
            {
                "train": dict.fromkeys("abc", 10),
                "validation": dict.fromkeys("ab", 5),
                "test": dict.fromkeys("abc", 8),
            }
        ),
        (VALIDATION_SPLIT,),
        ("validation has no photo of c", "on_missing_label"),
        1,
    ),
    "a label that test lacks": OddTraining(
        folder_photos({"train": dict.fromkeys("ab", 20), "test": {"a": 10}}),
        (),
        ("test has no photo of b", "on_missing_label"),
        1,
    ),
    "one label": OddTraining(
        folder_photos({"train": {"a": 10}, "test": {"a": 5}}),
        words=("Expected two labels or more",),
        refused=1,
    ),
    "a label only in test": OddTraining(
        folder_photos({"train": {"a": 10}, "test": {"a": 5, "b": 5}}), words=("no photo of b",), refused=1
    ),
    "one photo a label": OddTraining(
        folder_photos({"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}),
        words=("validation: no photo",),
        refused=1,
    ),
    "two photos in all": OddTraining(
        folder_photos({"train": {"a": 1, "b": 1}}), words=("no split 'test'",), refused=1
    ),
    "photos that all look alike": OddTraining(
        folder_photos(TWO_LABELS, photo_sets.grey), ("data.group=near-duplicates",), ("stay together",), 1
    ),
    "no test photos": OddTraining(
        folder_photos({"train": {"a": 20, "b": 20}, "test": {"a": 0}}), words=("no split 'test'",), refused=1
    ),
    "no photos at all": OddTraining(
        folder_photos({"train": {"a": 0, "b": 0}}), words=("holds no photos",), refused=1
    ),
    "no stages": OddTraining(folder_photos(TWO_LABELS), ("stage=[]",), ("[[stage]]",), 2),
    "a rate of 1e30": OddTraining(
        folder_photos(TWO_LABELS), ("stage.0.learning_rate=1e30",), ("learning_rate",), 2
    ),
    "a batch of none": OddTraining(folder_photos(TWO_LABELS), ("stage.0.batch_size=0",), ("batch_size",), 2),
    "a label of two lines": refused_label("a\nb"),
    "a label of blanks": refused_label(" "),
    "a label of other bytes": refused_label("a\udcff"),
    "a label that rings": refused_label("a\a"),
    "a label that turns text": refused_label("\u202eabc"),
    "a label above its range": OddTraining(
        tfrecord_photos(*[0, 1] * 9, 7), (*RECORDS, "data.labels=['a', 'b']"), ("label 7", "0 to 1"), 1
    ),
    "a label below zero": OddTraining(tfrecord_photos(*[0, 1] * 9, -1), RECORDS, ("label -1", "from 0"), 1),
    "an empty label": OddTraining(csv_photos("a", ""), ("data.split=split",), ("the label", "is empty"), 1),
    "binary loss of three": OddTraining(
        folder_photos({"train": dict.fromkeys("abc", 9), "test": dict.fromkeys("abc", 9)}),
        ("model.loss=binary",),
        ("binary",),
        2,
    ),
}
"""What is refused before anything is trained, with the exit code and the words."""

TRAINED = {
    "a class missing from validation": OddTraining(
        folder_photos({"train": dict.fromkeys("abc", 10), "validation": dict.fromkeys("ab", 5),
                "test": dict.fromkeys("abc", 8)}),
        (VALIDATION_SPLIT, MISSING_LABEL), (NOTE + "no photo at all in validation: c",), reduced=True,
    ),
    "a class missing from test": OddTraining(
        folder_photos({"train": dict.fromkeys("abc", 10), "validation": dict.fromkeys("abc", 5),
                "test": dict.fromkeys("ab", 8)}),
        (VALIDATION_SPLIT, MISSING_LABEL), (NOTE + "no photo at all in test: c",),
    ),
    "a test of one class": OddTraining(
        folder_photos({"train": dict.fromkeys("ab", 20), "test": {"a": 10}}), (MISSING_LABEL,),
        (NOTE + "no photo at all in test: b",),
    ),
    "one photo a label in every split": OddTraining(
        folder_photos({split: dict.fromkeys("ab", 1) for split in ("train", "validation", "test")}),
        (VALIDATION_SPLIT,), ("2 images",), verified=("inconclusive: agrees with Keras on", "of 2 images"),
    ),
    "all photos grey": OddTraining(
        folder_photos(TWO_LABELS, photo_sets.grey), (),
        (NOTE + "the model predicts", "duplicate photos are in two splits"),
        variants=("tflite-fp32", "onnx-fp32"), verified=("Keras gives the same probabilities for all",),
    ),
    "all photos black": OddTraining(
        folder_photos(TWO_LABELS, photo_sets.black), (), (NOTE + "the model predicts",), exported=1,
        verified=("calibration images are all the same",),
    ),
    "the same photos in every split": OddTraining(
        folder_photos(TWO_LABELS, photo_sets.flat), (), ("duplicate photos are in two splits",), exported=1,
        verified=("are test photos",),
    ),
    "a batch larger than the set": OddTraining(
        folder_photos(TWO_LABELS), ("stage.0.batch_size=65536",), ("34 images",),
        verified=("inconclusive: ", "needs at least"),
    ),
    "the head alone": OddTraining(folder_photos(TWO_LABELS), ("stage.0.unfreeze=none",), ("34 images",)),
    "no epochs": OddTraining(
        folder_photos(TWO_LABELS), ("stage.0.epochs=0",), (NOTE + "no epoch was trained",), reduced=True
    ),
    "a rate of zero": OddTraining(folder_photos(TWO_LABELS), ("stage.0.learning_rate=0",), ("34 images",)),
    "a thousand classes": OddTraining(
        folder_photos({split: {f"c{n:03d}": 2 for n in range(1000)}
                       for split in ("train", "validation", "test")}),
        (VALIDATION_SPLIT,), ("2000 images",), variants=("tflite-fp32", "tflite-int8"),
    ),
    "odd names": OddTraining(
        csv_photos(
            "a,b", "🌷", ".net", "../x", "a/b", "<script>", "$\\frac{$", "[red]", '"', "-rf", "C:\\a",
            "\u05e9\u05dc\u05d5\u05dd",
        ),
        ("data.split=split",), ("<script>",),
    ),
}  # fmt: skip
"""What trains all the same, and the words that say what the figures mean."""
