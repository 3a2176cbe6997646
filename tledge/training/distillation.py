"""Set up the quantize-aware stage: a copy of the network learns to predict in 8 bits as it does in float.

The teacher is the network after the earlier stages, and it stays the run's model; the student
starts as its copy and computes as the int8 model will (see `quantize_aware`). It learns the
teacher's probabilities and not the labels, on the same images: an int8 model should predict as the
model that was measured (Hinton et al. 2015, at temperature 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tledge.config import Stage
from tledge.data import sampling
from tledge.data.streaming import in_batches
from tledge.errors import DataError
from tledge.models import augmentation, classifier
from tledge.progress import SILENT, Progress, track
from tledge.quantization import quantization_aware
from tledge.quantization.quantization_aware import Range
from tledge.recipe.definition import Recipe
from tledge.run.folder import RunFolder
from tledge.training import accelerators
from tledge.training.batches import Examples

BATCH = 32


@dataclass(frozen=True)
class DistillationSetup:
    """The `network` to train, which predicts the student's probabilities and then the teacher's.

    Its output is float32[N, 2 * classes].

    `student` is the plain network on the student's variables, and `ranges` are its activation ranges.
    """

    network: Any
    student: Any
    ranges: dict[str, Range]

    def save(self, folder: RunFolder) -> None:
        """Write the student as a plain network, and its ranges, beside the run's model."""
        quantization_aware.save_ranges(folder.student_ranges, self.ranges)
        classifier.save(self.student, folder.student)


def set_up_distillation(
    recipe: Recipe,
    stage: Stage,
    core: Any,
    examples: Examples,
    engine: accelerators.Engine,
    progress: Progress = SILENT,
) -> DistillationSetup:
    """Return what a quantize-aware stage trains; `core` is neither changed nor trained.

    Activation ranges are measured on as many images of `examples` as int8 conversion calibrates on, and
    stay fixed.

    Raises:
        DataError: The recipe gives no images to measure ranges on.
    """
    with engine.building():
        teacher, student = classifier.copy(core), classifier.copy(core)
    ranges = quantization_aware.measure(engine.plain(core), _range_images(recipe, examples, progress))
    teacher.trainable = False
    first = classifier.first_trainable(student, stage)
    for number, layer in enumerate(student.layers):
        layer.trainable = number >= first and layer.name != classifier.PAIR
    network = _side_by_side(quantization_aware.build(student, ranges), teacher)
    if not recipe.augment.is_off and not recipe.augment.views:
        network = augmentation.with_augmentation(network, recipe.augment, recipe.meta.seed)
    return DistillationSetup(network, student, ranges)


def _range_images(recipe: Recipe, examples: Examples, progress: Progress) -> Any:
    """Yield batches uint8[N, H, W, 3] of the train images that int8 is calibrated on, classes in turn."""
    count = recipe.export.calibration.images
    if count < 1:
        raise DataError(
            "[export.calibration] images = 0: quantize_aware measures activation ranges on these images. Set "
            "100 or more."
        )
    labels = examples.labels[examples.rows].argmax(1)
    rows = examples.rows[sampling.by_class_in_turn(labels, count, recipe.meta.seed)]
    batches = in_batches(examples.images, rows, BATCH)
    return track(progress, batches, "ranges", math.ceil(len(rows) / BATCH))


def _side_by_side(student: Any, teacher: Any) -> Any:
    """Return a model of both: float32[N, H, W, 3] → float32[N, 2 * classes], the teacher's output last."""
    import keras

    class Teacher(keras.layers.Layer):  # type: ignore[misc]
        """The teacher, which always runs in inference mode."""

        def __init__(self) -> None:
            super().__init__(name="teacher", trainable=False)
            self.network = teacher

        def call(self, images: Any) -> Any:
            return keras.ops.stop_gradient(self.network(images, training=False))

    (image,) = student.inputs
    both = keras.layers.Concatenate(name="both")([student.output, Teacher()(image)])
    return keras.Model(image, both, name="lesson")


def divergence(_labels: Any, both: Any) -> Any:
    """Return each image's Kullback-Leibler divergence of the student from the teacher."""
    import keras

    student, teacher = keras.ops.split(both, 2, axis=-1)
    return keras.losses.kl_divergence(teacher, student)


def metrics() -> list[Any]:
    """Return the metrics: the student's accuracy, and its agreement with the teacher."""
    import keras

    class Accuracy(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true, keras.ops.split(y_pred, 2, axis=-1)[0], sample_weight)

    class Agreement(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            student, teacher = keras.ops.split(y_pred, 2, axis=-1)
            return super().update_state(teacher, student, sample_weight)

    return [Accuracy(name="accuracy"), Agreement(name="agreement")]
