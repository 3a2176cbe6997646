"""Define the recipe's tables as frozen dataclasses: every key, its type, default, range and meaning.

Reading a recipe and checking tables against each other is done in `tledge.recipe`. To add a key, add a
field here: the parser, the error messages and the reference in the documentation are made from these fields.
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
    """Return a dataclass field of a table, for one key of the recipe.

    Args:
        default: the value where the recipe does not set the key; lists and dicts are copied.
        meaning: the key's text in the reference and in `tledge init`.
        low: smallest number allowed.
        high: largest number allowed.
        choices: the texts allowed.
    """
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": choices}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Meta:
    """`[recipe]`: name, version and seed of the model."""

    name: str = key("", "name of the run folder and the bundle: letters, digits, - and _")
    version: str = key("1", "version of the model, to which each training adds a hash: 1+3f9a02c7")
    seed: int = key(0, "seed of all random numbers", low=0, high=2**31 - 1)
    description: str = key("", "one sentence about the model, for `tledge list` and the bundle")


@dataclass(frozen=True)
class SplitPart:
    """The images of a split: a source split, a slice of one, or a share of one.

    `origin` is the source split. `start` and `stop` cut a slice out of it in the order of the
    source ("90%", "100", "-50"), which for folders is by label. Of the images that remain, at most one
    of these is taken: a `fraction` of each class (at least one image, where another is left), a `count` of
    images spread evenly over the classes, a share of its `files`, or the images whose id matches a glob
    `pattern`. The parts in `also` are added.
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
        """Tell whether the part is cut out by position."""
        return bool(self.start or self.stop)


@dataclass(frozen=True)
class Splits:
    """`[data.splits]`: source splits ("train", "train[:90%]", "train+extra"), or parts of one:
    { from = NAME, fraction = SHARE }, { from, count = IMAGES }, { from, files = SHARE } or
    { from, pattern = GLOB }. A whole source split gets the images that the other splits leave.
    """

    train: SplitPart = SplitPart("train")
    validation: SplitPart = SplitPart("train", 0.15)
    test: SplitPart = SplitPart("test")


@dataclass(frozen=True)
class Data:
    """`[data]`: the images. All other keys are options of the source."""

    source: str = key("", "name of the source, a colon, and its argument: tfds:beans, folder:photos")
    licence: str = key("", "licence of the images, for the model card")
    group: str = key(
        "none",
        "images that stay together when a share of a source split is taken: near-duplicates, or images whose "
        "ids give the same text for the group of this regular expression",
    )
    on_bad: str = key("stop", "what to do with an image that cannot be decoded", choices=("stop", "skip"))
    on_missing_label: str = key(
        "stop",
        "what training does where validation or test has no image of a label, about which its score then "
        "says nothing",
        choices=("stop", "continue"),
    )
    pixel_range: tuple[float, ...] = key(
        (),
        "the values of black and white in images deeper than 8 bits, such as [0, 4095] for 12 bits in 16; "
        "needed where the files do not say it",
    )
    labels: tuple[str, ...] = key(
        (),
        "all labels, in the order of the model's outputs; a label without an image keeps its place. If not "
        "set: the order of the source if it has one, else natural order (2 before 10)",
    )
    labels_file: str = key("", "path of a text file to read `labels` from, one label a line")
    cache: bool = key(
        True,
        "keep every decoded image on the disk; false decodes images each time they are needed, for data sets "
        "larger than the disk",
    )
    splits: Splits = Splits()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """`[model]`: backbone and head."""

    backbone: str = key("mobilenetv2", "a name from `tledge list backbones`, or hub:PATH_OR_HANDLE")
    alpha: float = key(1.0, "width multiplier, if the backbone has one", low=0.01, high=4)
    weights: str = key("imagenet", "imagenet, none, or the path of a .weights.h5 file of the backbone")
    input_range: tuple[float, ...] = key(
        (), "smallest and largest pixel value that a hub backbone expects; [0, 1] if not set"
    )
    image_size: int = key(224, "side of the square input in pixels", low=16, high=2048)
    dropout: float = key(0.2, "dropout rate before the last layer", low=0, high=0.95)
    head: tuple[int, ...] = key((), "units of hidden ReLU layers between pooling and logits", low=1)
    head_batch_norm: bool = key(False, "batch normalization directly after the pooling")
    loss: str = key(
        "categorical",
        "cross-entropy: of a softmax, or of a single logit (two classes only)",
        choices=("categorical", "binary"),
    )


@dataclass(frozen=True)
class Augment:
    """`[augment]`: random changes to training images; 0 or "none" switches a change off.

    Each key is the Keras layer of that name with that factor, on values 0 to 255; `resize_jitter` is
    a layer of tledge.
    """

    flip: str = key(
        "none", "mirror the image", choices=("none", "horizontal", "vertical", "horizontal_and_vertical")
    )
    rotation: float = key(
        0.0, "rotate by up to this fraction of a full turn, in both directions", low=0, high=0.5
    )
    zoom: float = key(0.0, "zoom in and out by up to this fraction", low=0, high=0.9)
    translation: float = key(0.0, "shift by up to this fraction of the side", low=0, high=0.9)
    perspective: float = key(0.0, "strength of a random change of perspective", low=0, high=1)
    brightness: float = key(0.0, "lighter or darker by up to this fraction of 255", low=0, high=1)
    contrast: float = key(0.0, "raise or lower the contrast by up to this fraction", low=0, high=1)
    saturation: float = key(
        0.0, "weaken or strengthen the colours by up to this fraction, at most 0.5", low=0, high=0.5
    )
    hue: float = key(0.0, "shift the hue by up to this fraction of the colour circle", low=0, high=1)
    grayscale: float = key(0.0, "fraction of images that become grey", low=0, high=1)
    erasing: float = key(0.0, "fraction of images in which a random rectangle is erased", low=0, high=1)
    resize_jitter: float = key(
        0.0,
        "scale half of the images down by a factor of up to 1 + this and back, by nearest, bilinear or "
        "bicubic, shifted by a fraction of a pixel: for devices that resize differently",
        low=0,
        high=3,
    )
    views: int = key(
        0,
        "number of augmentation copies of each image, computed once; the epochs use them in turn. 0 computes "
        "new random changes in every epoch",
        low=0,
    )
    keep_photo: bool = key(
        True, "use the unchanged image as the first augmentation copy; false changes all copies"
    )
    fill: str = key(
        "reflect", "how to fill the area outside the image", choices=("reflect", "nearest", "constant")
    )

    @property
    def is_off(self) -> bool:
        """Tell whether all random changes are switched off."""
        return replace(self, views=0, fill="reflect") == Augment()


@dataclass(frozen=True)
class Stage:
    """`[[stage]]`: one training stage; stages run in the order of the file."""

    name: str = key("", "name of the stage in the progress display and the history")
    epochs: int = key(5, "number of passes over the train split", low=0, high=100000)
    unfreeze: str | int = key(
        "none",
        "backbone layers to train in addition to the head: none, all, the top N layers, or from the layer "
        "of this name on",
    )
    batch_norm: str = key(
        "inference",
        "batch normalization of the backbone during training: use its stored statistics, or update them",
        choices=("inference", "train"),
    )
    batch_norm_momentum: float = key(
        0.0, "momentum of the batch normalization statistics; 0 keeps the backbone's own", low=0, high=0.9999
    )
    optimizer: str = key("adam", "Keras optimizer", choices=("sgd", "rmsprop", "adam", "adamw", "adamax"))
    learning_rate: float = key(1e-3, "initial learning rate", low=0, high=100)
    schedule: str = key(
        "constant",
        "how the learning rate decays over the stage",
        choices=("constant", "cosine", "exponential", "inverse-time"),
    )
    decay: float = key(
        0.0,
        "inverse-time: the learning rate is divided by 1 + decay * step; exponential: factor per epoch",
        low=0,
        high=1,
    )
    momentum: float = key(0.0, "momentum (sgd, rmsprop)", low=0, high=1)
    nesterov: bool = key(False, "Nesterov momentum (sgd)")
    weight_decay: float = key(0.0, "decoupled weight decay", low=0, high=10)
    ema: float = key(
        0.0, "momentum of the moving average of the weights; 0 switches it off", low=0, high=0.99999
    )
    label_smoothing: float = key(
        0.0, "fraction of the label that is spread over all classes", low=0, high=0.9
    )
    class_weights: str = key(
        "none", "weight the images so that every class counts equally", choices=("none", "balanced")
    )
    mixup: float = key(0.0, "alpha of the beta distribution of mixup; 0 switches it off", low=0, high=10)
    reuse_frozen: bool = key(
        True,
        "cache the outputs of the frozen layers (frozen features); not available with mixup, nor with "
        "augmentation that changes in every epoch",
    )
    batch_size: int = key(32, "images per training step", low=1, high=65536)
    patience: int = key(
        0, "epochs without improvement after which the stage stops; 0 never stops early", low=0
    )
    monitor: str = key(
        "val_loss", "figure that decides which epoch was the best", choices=("val_loss", "val_accuracy")
    )
    restore_best: bool = key(True, "keep the weights of the best epoch instead of the last")
    quantize_aware: bool = key(
        False,
        "quantization-aware training, last stage only: train a copy that computes like int8 to predict like "
        "the model of the earlier stages. That model stays the run's reference model; tflite-int8 is "
        "converted from the copy, without calibration. Use a small learning_rate, such as 1e-4",
    )


@dataclass(frozen=True)
class Hardware:
    """`[hardware]`: how training uses the device; the trained model is always saved as float32."""

    precision: str = key(
        "float32",
        "data type of the layers during training; weights, logits and probabilities stay float32, and "
        "float16 scales the loss. Not available for hub backbones",
        choices=("float32", "bfloat16", "float16"),
    )
    jit_compile: str = key(
        "auto",
        "compile a training step with XLA: as Keras chooses (always with JAX, never with TensorFlow), "
        'always, or never. With TensorFlow, "on" makes runs no longer bit-reproducible',
        choices=("auto", "on", "off"),
    )
    halve_batch: bool = key(
        False,
        "if the device runs out of memory, restart the stage with half the images per step, and accumulate "
        "the gradients of twice as many steps for an update",
    )
    devices: str = key(
        "one",
        "train on one device, or on all GPUs of this machine: every batch is divided among them",
        choices=("one", "all"),
    )


@dataclass(frozen=True)
class Log:
    """`[log]`: files and servers for other tools; `history.csv` and the plots are always written."""

    tensorboard: bool = key(
        True,
        "write tensorboard/ into the run: the figures of every epoch as it ends, augmented train images, the "
        "confusion matrix and, with TensorFlow, the graph; view it with `pip install tensorboard`",
    )
    mlflow: bool = key(
        False,
        "log the recipe, the figures of every epoch and the scores to MLflow at MLFLOW_TRACKING_URI; needs "
        "`pip install mlflow`",
    )


@dataclass(frozen=True)
class Calibration:
    """`[export.calibration]`: the images on which an int8 conversion measures ranges."""

    images: int = key(
        200, "number of calibration images, drawn from the train split by class", low=0, high=100000
    )


@dataclass(frozen=True)
class Int8:
    """`[export.int8]`: how int8 artifacts are converted."""

    bias_correction: bool = key(True, "correct the biases for the mean error that rounded weights cause")
    repair: bool = key(
        False,
        "try quantization repairs one by one, measured on validation images, until the gates pass; bias "
        "correction is then one of them",
    )
    integer_only: bool = key(
        True,
        "allow only repairs that keep an integer-only model. false: if these do not pass, also try some "
        "layers in float, then float activations, 16-bit activations and float16, each under the name of "
        "its variant",
    )


@dataclass(frozen=True)
class Export:
    """`[export]`: which artifacts to make."""

    variants: tuple[str, ...] = key(
        ("saved_model", "tflite-fp32", "onnx-fp32"),
        "variants that every export makes; flags of the command add more",
    )
    timeout: int = key(900, "time limit of one conversion in seconds", low=1)
    memory_mib: int = key(
        0,
        "limit of the address space of each of the two converting processes in MiB, 0 for none; Linux only",
        low=0,
    )
    calibration: Calibration = Calibration()
    int8: Int8 = Int8()


@dataclass(frozen=True)
class Parity:
    """`[parity]`: the parity gates. MLPerf Mobile requires 98 % of the float accuracy, hence the defaults."""

    float_agreement: float = key(1.0, "lowest agreement of float32 artifacts with Keras", low=0, high=1)
    float_max_dp: float = key(1e-4, "largest difference of a probability of float32 artifacts", low=0, high=1)
    fp16_agreement: float = key(0.995, "lowest agreement of fp16 artifacts with Keras", low=0, high=1)
    int8_agreement: float = key(0.98, "lowest agreement of quantized artifacts with Keras", low=0, high=1)
    int8_accuracy: float = key(
        0.98, "lowest accuracy of quantized artifacts, as a fraction of Keras' accuracy", low=0, high=1
    )
    max_drop: float = key(0.01, "largest drop of the accuracy, as a fraction of the images", low=0, high=1)
    max_class_drop: float = key(0.05, "largest drop of the recall of a class of 20 images", low=0, high=1)
    max_arena_kib: float = key(
        0.0, "largest arena of tflite-int8 in KiB, 0 for no limit; needs the extra microcontroller", low=0
    )
    max_flash_kib: float = key(0.0, "largest file of tflite-int8 in KiB, 0 for no limit", low=0)
    stress_agreement: float = key(
        0.95, "lowest agreement with Keras under any corruption that --stress tries", low=0, high=1
    )
    stress_drop: float = key(
        0.03, "largest drop of the accuracy under any of these, as a fraction of the images", low=0, high=1
    )
    extra: str = key("", 'photos without labels to verify on where test images are few, as "folder:PATH"')
    strict: bool = key(False, "leave out of the bundle what is provisional because images are too few")


@dataclass(frozen=True)
class Abstain:
    """`[abstain]`: when a prediction is rejected as unsure; the threshold is fitted on validation images."""

    give_up: float = key(
        0.05,
        "fraction of correct predictions that may be rejected as unsure in order to reject "
        "out-of-distribution images; higher rejects more of both, and more wrong predictions; 0 rejects "
        "nothing",
        low=0,
        high=0.5,
    )


@dataclass(frozen=True)
class Expect:
    """`[expect]`: what the recipe promises; a run that does not reach it says so."""

    test_accuracy: float = key(0.0, "lowest accuracy on the test split", low=0, high=1)
