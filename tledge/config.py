"""The recipe's tables as frozen values: every key, its type, default, range and meaning.

Nothing is read or checked against other tables here; `recipe` does that. A key is added by adding
a field: the parser, the error messages and the reference are made from these fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


def key(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with its meaning and limits; a mutable default is copied."""
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": choices}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class About:
    """`[recipe]`: what this is."""

    name: str = key("", "name of the run folder and the bundle; letters, digits, - and _")
    version: str = key("1", "version of the model, part of the bundle's file name")
    seed: int = key(0, "seed of every random choice", low=0, high=2**31 - 1)
    description: str = key("", "one sentence for lists and the bundle")


@dataclass(frozen=True)
class SplitPart:
    """Where a split comes from: a source split, a slice of one, or a share of one.

    `origin` is the source split; `start` and `stop` cut a slice out of it in the source's own
    order ("90%", "100", "-50"), which for folders is by label. Of what they leave, at most one of
    these is taken: a `fraction` of each class, a `count` of images spread over the classes alike,
    a share of its `files`, or the photos whose id fits a glob `pattern`. `also` is joined to it.
    """

    origin: str
    fraction: float | None = None
    count: int | None = None
    files: float | None = None
    pattern: str | None = None
    start: str = ""
    stop: str = ""
    also: tuple[SplitPart, ...] = ()

    @property
    def is_slice(self) -> bool:
        """True where a part is cut out by position."""
        return bool(self.start or self.stop)


@dataclass(frozen=True)
class Splits:
    """`[data.splits]`: source splits ("train", "train[:90%]", "train+extra"), or parts of one:
    { from = NAME, fraction = SHARE }, { from, count = IMAGES }, { from, files = SHARE } or
    { from, pattern = GLOB }. Whole splits take what the others left.
    """

    train: SplitPart = SplitPart("train")
    validation: SplitPart = SplitPart("train", 0.15)
    test: SplitPart = SplitPart("test")


@dataclass(frozen=True)
class Data:
    """`[data]`: the photos. Further keys are options of the source."""

    source: str = key("", "source name, with its argument after a colon: tfds:beans, folder:photos")
    licence: str = key("", "licence of the photos, for the model card")
    group: str = key(
        "none",
        "photos that stay together when shares of a source split are taken: near-duplicates, or those "
        "whose ids give the same text for the group of this regular expression",
    )
    on_bad: str = key("stop", "what a photo that does not decode does", choices=("stop", "skip"))
    cache: bool = key(
        True,
        "keep every decoded photo on the disk; false decodes photos whenever they are wanted, for sets "
        "larger than the disk",
    )
    splits: Splits = Splits()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """`[model]`: backbone and head."""

    backbone: str = key("mobilenetv2", "a name from `tledge list backbones`; hub:PATH_OR_HANDLE")
    alpha: float = key(1.0, "width multiplier, where the backbone has one", low=0.01, high=4)
    weights: str = key("imagenet", "imagenet, none, or a .weights.h5 file of the backbone")
    input_range: tuple[float, ...] = key(
        (), "least and largest value that a hub backbone takes, [0, 1] where nothing is said"
    )
    image_size: int = key(224, "side of the square input in pixels", low=16, high=2048)
    dropout: float = key(0.2, "dropout before the last layer", low=0, high=0.95)
    head: tuple[int, ...] = key((), "units of hidden ReLU layers between pooling and logits", low=1)
    head_batch_norm: bool = key(False, "batch norm right behind the pooling")
    loss: str = key(
        "categorical",
        "cross-entropy of a softmax, or of one logit for two classes",
        choices=("categorical", "binary"),
    )


@dataclass(frozen=True)
class Augment:
    """`[augment]`: random changes to training images; 0 or "none" switches one off.

    Each is the Keras layer of that name with that factor, on values 0 to 255; `resize_jitter` is
    tledge's own.
    """

    flip: str = key("none", "mirror", choices=("none", "horizontal", "vertical", "horizontal_and_vertical"))
    rotation: float = key(0.0, "up to this share of a full turn, both ways", low=0, high=0.5)
    zoom: float = key(0.0, "in and out by up to this share", low=0, high=0.9)
    translation: float = key(0.0, "shift by up to this share of the side", low=0, high=0.9)
    perspective: float = key(0.0, "scale of a random perspective", low=0, high=1)
    brightness: float = key(0.0, "lighter or darker by up to this share of 255", low=0, high=1)
    contrast: float = key(0.0, "contrast up or down by up to this share", low=0, high=1)
    saturation: float = key(0.0, "colours paler or stronger by up to this share, .5 at most", low=0, high=0.5)
    hue: float = key(0.0, "hue shift by up to this share of the circle", low=0, high=1)
    grayscale: float = key(0.0, "share of images turned grey", low=0, high=1)
    erasing: float = key(0.0, "share of images with a random rectangle erased", low=0, high=1)
    resize_jitter: float = key(
        0.0,
        "half of the images are scaled down by a factor of up to 1 + this and back, by nearest, bilinear or "
        "bicubic, a part of a pixel off: for devices that resize otherwise",
        low=0,
        high=3,
    )
    views: int = key(
        0,
        "epochs take turns with this many views: the photos as they are, and others drawn once; 0 draws anew "
        "in every epoch",
        low=0,
    )
    keep_photo: bool = key(
        True, "whether the first of the views is the photo as it is; false: all of them are changed"
    )
    fill: str = key("reflect", "what lies outside the image", choices=("reflect", "nearest", "constant"))

    @property
    def is_off(self) -> bool:
        """True where no random change is switched on."""
        return replace(self, views=0, fill="reflect") == Augment()


@dataclass(frozen=True)
class Stage:
    """`[[stage]]`: one training stage; stages run in the order of the file."""

    name: str = key("", "name in the progress and the history")
    epochs: int = key(5, "passes over the train split", low=0, high=100000)
    unfreeze: str | int = key(
        "none", "what is trained beside the head: none, all, from this layer on, or the top N layers"
    )
    batch_norm: str = key(
        "inference",
        "batch norm of the backbone while training: with its stored statistics, or updating them",
        choices=("inference", "train"),
    )
    batch_norm_momentum: float = key(
        0.0, "momentum of the batch-norm statistics, 0 leaves it as it is", low=0, high=0.9999
    )
    optimizer: str = key("adam", "Keras optimizer", choices=("sgd", "rmsprop", "adam", "adamw", "adamax"))
    learning_rate: float = key(1e-3, "initial learning rate", low=0, high=100)
    schedule: str = key(
        "constant",
        "how it decays over the stage",
        choices=("constant", "cosine", "exponential", "inverse-time"),
    )
    decay: float = key(
        0.0,
        "inverse-time: the rate is divided by 1 + decay * step; exponential: factor per epoch",
        low=0,
        high=1,
    )
    momentum: float = key(0.0, "momentum (sgd, rmsprop)", low=0, high=1)
    nesterov: bool = key(False, "Nesterov momentum (sgd)")
    weight_decay: float = key(0.0, "decoupled weight decay", low=0, high=10)
    ema: float = key(0.0, "momentum of a moving average of the weights, 0 is off", low=0, high=0.99999)
    label_smoothing: float = key(0.0, "share of the label given to all classes", low=0, high=0.9)
    class_weights: str = key(
        "none", "weigh images so that every class counts alike", choices=("none", "balanced")
    )
    mixup: float = key(0.0, "alpha of mixup's beta distribution, 0 is off", low=0, high=10)
    reuse_frozen: bool = key(
        True,
        "compute once what the layers in front of all that trains give; not with mixup, nor with "
        "augmentation that is drawn anew in every epoch",
    )
    batch_size: int = key(32, "images per step", low=1, high=65536)
    patience: int = key(0, "epochs without improvement before the stage stops, 0 never", low=0)
    monitor: str = key("val_loss", "what says which epoch was best", choices=("val_loss", "val_accuracy"))
    restore_best: bool = key(True, "end with the best epoch's weights instead of the last")
    quantize_aware: bool = key(
        False,
        "the last stage only: train a copy that computes as int8 does to answer as the network of the "
        "earlier stages, which stays the run's model; tflite-int8 is made of the copy, without calibration. "
        "Start from a learning_rate of 1e-4: small changes are all it takes",
    )


@dataclass(frozen=True)
class Hardware:
    """`[hardware]`: how training uses the device; a run is written in float32 whatever it says."""

    precision: str = key(
        "float32",
        "of layers while training; weights, logits and probabilities stay float32, and float16 scales the "
        "loss. Not with hub backbones",
        choices=("float32", "bfloat16", "float16"),
    )
    jit_compile: str = key(
        "auto",
        "compile a step with XLA: as Keras chooses (with JAX always, with TensorFlow never), always, or "
        "never. With TensorFlow, on gives up that a run repeats bit for bit",
        choices=("auto", "on", "off"),
    )
    halve_batch: bool = key(
        False,
        "where the device runs out of memory, begin the stage again with half the images at a time and "
        "twice as many gradients to an update",
    )
    devices: str = key(
        "one",
        "train on one device or on all GPUs of this machine, which share every batch",
        choices=("one", "all"),
    )


@dataclass(frozen=True)
class Log:
    """`[log]`: what other tools read of a training; `history.csv` and the plots are always written."""

    tensorboard: bool = key(
        True,
        "write tensorboard/ into the run: the figures of every epoch as it ends, changed train photos, the "
        "confusion matrix and, with TensorFlow, the graph; `pip install tensorboard` to look at it",
    )
    mlflow: bool = key(
        False,
        "tell MLflow the recipe, the figures of every epoch and the scores, at MLFLOW_TRACKING_URI; needs "
        "`pip install mlflow`",
    )


@dataclass(frozen=True)
class Calibration:
    """`[export.calibration]`: the images an int8 conversion measures ranges on."""

    images: int = key(200, "how many, drawn from the train split by class", low=0, high=100000)


@dataclass(frozen=True)
class Int8:
    """`[export.int8]`: how an int8 artifact is made."""

    bias_correction: bool = key(True, "correct biases for the mean error of rounded weights")
    repair: bool = key(
        False,
        "try remedies one after the other, judged on validation photos, until the gates pass; bias "
        "correction is then one of them",
    )
    integer_only: bool = key(
        True,
        "repair ends with integers. Without it, where they do not hold: layers in float, then float "
        "activations, 16-bit activations, float16; each under the name of its variant",
    )


@dataclass(frozen=True)
class Export:
    """`[export]`: what to make."""

    variants: tuple[str, ...] = key(
        ("saved_model", "tflite-fp32", "onnx-fp32"), "made by every export; flags add to it"
    )
    timeout: int = key(900, "seconds one conversion may take", low=1)
    memory_mib: int = key(
        0, "MiB of address space that each of two converting processes may take, 0 for any; Linux only", low=0
    )
    calibration: Calibration = Calibration()
    int8: Int8 = Int8()


@dataclass(frozen=True)
class Parity:
    """`[parity]`: the gates. Defaults: MLPerf Mobile asks 98 % of the float accuracy."""

    float_agreement: float = key(1.0, "least agreement of float32 artifacts", low=0, high=1)
    float_max_dp: float = key(1e-4, "largest probability difference of float32 artifacts", low=0, high=1)
    fp16_agreement: float = key(0.995, "least agreement of fp16 artifacts", low=0, high=1)
    int8_agreement: float = key(0.98, "least agreement of quantized artifacts", low=0, high=1)
    int8_accuracy: float = key(0.98, "least share of Keras' accuracy", low=0, high=1)
    max_drop: float = key(0.01, "largest accuracy drop, as a share of the images", low=0, high=1)
    max_class_drop: float = key(0.05, "largest drop of recall in a class of 20 images or more", low=0, high=1)
    max_arena_kib: float = key(
        0.0,
        "largest arena of tflite-int8 in tflite-micro in KiB, 0 for any; needs the extra microcontroller",
        low=0,
    )
    max_flash_kib: float = key(0.0, "largest file of tflite-int8 in KiB, 0 for any", low=0)


@dataclass(frozen=True)
class Abstain:
    """`[abstain]`: when the model says that it is unsure, fitted on validation photos."""

    give_up: float = key(
        0.05,
        "share of right answers to give up so that things of no class are called unsure; more calls more "
        "of them so, and leaves fewer wrong answers; 0 answers every photo",
        low=0,
        high=0.5,
    )


@dataclass(frozen=True)
class Expect:
    """`[expect]`: what the recipe promises; a run that falls short says so."""

    test_accuracy: float = key(0.0, "least accuracy on the test split", low=0, high=1)
