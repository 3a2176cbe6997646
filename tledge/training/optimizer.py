"""Build the optimizer, the learning rate schedule, the loss and the metrics of a stage."""

from __future__ import annotations

from typing import Any

from tledge.config import Stage
from tledge.training import batch_partition, distillation
from tledge.training.batch_partition import BatchPartition


def optimizer(stage: Stage, steps: int, accumulate: int = 1) -> Any:
    """Return the Keras optimizer of a stage with `steps` updates in all, each of `accumulate` gradients."""
    import keras

    options: dict[str, Any] = {"learning_rate": _rate(stage, steps)}
    if stage.weight_decay or stage.optimizer == "adamw":  # AdamW's own default is not 0
        options["weight_decay"] = stage.weight_decay
    if stage.ema:
        options |= {"use_ema": True, "ema_momentum": stage.ema}
    if stage.optimizer in ("sgd", "rmsprop"):
        options["momentum"] = stage.momentum
    if stage.optimizer == "sgd":
        options["nesterov"] = stage.nesterov
    kinds = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax"}
    optimizer_class = getattr(keras.optimizers, kinds[stage.optimizer])
    return optimizer_class(**accumulating(options, accumulate))


def _rate(stage: Stage, steps: int) -> Any:
    """Return the learning rate: a number, or Keras' schedule of that name over `steps` steps."""
    from keras.optimizers import schedules

    first = stage.learning_rate
    if stage.schedule == "cosine":
        return schedules.CosineDecay(first, max(1, steps))
    if stage.schedule == "exponential":
        return schedules.ExponentialDecay(first, max(1, steps // max(1, stage.epochs)), stage.decay)
    if stage.schedule == "inverse-time":
        return schedules.InverseTimeDecay(first, 1, stage.decay)
    return first


def loss(stage: Stage) -> Any:
    """Return the cross-entropy of probabilities [N, classes] against one-hot labels.

    Of the pair (1 - p, p) that one logit gives this is its binary cross-entropy. Keras' own
    BinaryCrossentropy would not do: behind a softmax it takes the softmax' inputs for logits of p.
    """
    import keras

    if stage.quantize_aware:
        return distillation.divergence
    return keras.losses.CategoricalCrossentropy(label_smoothing=stage.label_smoothing)


def metrics(classes: int, partition: BatchPartition | None = None, *, distilled: bool = False) -> list[Any]:
    """Return accuracy, and top-5 accuracy where there are more than five classes; padding does not count."""
    import keras

    has_padding = partition is not None and not partition.is_undivided
    if distilled:
        pair = distillation.metrics()
        return batch_partition.without_padding(pair) if has_padding else pair
    if not has_padding:
        top5 = keras.metrics.TopKCategoricalAccuracy(5, name="top5")
        return ["accuracy", top5] if classes > 5 else ["accuracy"]
    counted = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if classes > 5:
        counted.append(keras.metrics.TopKCategoricalAccuracy(5, name="top5"))
    return batch_partition.without_padding(counted)


def accumulating(options: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return options of a Keras optimizer with which `steps` gradients make one update.

    Keras counts every gradient as a step. So a schedule is held here until the update, and the momentum
    of the weights' moving average is spread over the gradients.
    """
    if steps == 1:
        return options
    changed = {**options, "gradient_accumulation_steps": steps}
    if callable(options["learning_rate"]):
        changed["learning_rate"] = _held(options["learning_rate"], steps)
    if options.get("use_ema"):
        changed["ema_momentum"] = options["ema_momentum"] ** (1 / steps)
    return changed


def _held(schedule: Any, steps: int) -> Any:
    """Return a schedule that changes once in `steps` steps."""
    import keras

    class Held(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            return schedule(keras.ops.floor_divide(step, steps))

        def get_config(self) -> dict[str, Any]:
            return {"schedule": schedule, "steps": steps}

    return Held()
