"""SavedModel: signatures `serve` on bytes and `serve_jpeg` on encoded photos, labels as an asset."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import contract
from tledge._io import atomic
from tledge._io.json_records import from_json
from tledge._process.optional_imports import Needs, install_command
from tledge.errors import ArtifactError, ConversionError, TledgeError
from tledge.formats.base import Format, Mode, Port, Structure, is_zeroed
from tledge.formats.jobs import ConversionJob, ConversionResult, UncalibratedJob
from tledge.formats.keras_freezing import keras_model, tensorflow
from tledge.models import saved_model_judgement
from tledge.preprocessing import bit_depth
from tledge.run.read_once import State, state_of
from tledge.runtime import sandbox
from tledge.runtime.model_file import ModelSource
from tledge.runtime.sessions import Session

UNKNOWN_RANGE = "16-bit PNG whose upper bits are unused: its range is not known. Save it with 8 bits."

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def convert(job: ConversionJob) -> ConversionResult:
    """Write the SavedModel folder `job.target.out`; equal models give equal bytes.

    Raises:
        ConversionError: the job asks for more than a SavedModel of the model as it is.
    """
    if not isinstance(job, UncalibratedJob):
        raise ConversionError(f"SavedModel has no {type(job).__name__}; expected UncalibratedJob.")
    tf, target = tensorflow(), job.target
    model = keras_model(Path(target.model))
    with atomic.replacing(Path(target.out)) as folder, tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / "labels.txt"
        labels.write_text(contract.labels_text(target.labels), encoding="utf-8")
        module, signatures = _module(tf, model, labels)
        if target.pixel_range:
            del signatures["serve_jpeg"]  # TensorFlow drops the lower bits of 16
        tf.saved_model.save(module, str(folder), signatures=signatures)
        _make_canonical(folder)
    return ConversionResult(target.mode, signatures=tuple(sorted(signatures)))


def _module(tf: Any, model: Any, labels: Path) -> tuple[Any, dict[str, Any]]:
    """Return a module that holds the model and its labels, and its signatures by name.

    TensorFlow writes the names of the functions in here into the SavedModel, so they stay as they are.
    """
    height, width = model.input_shape[1:3]
    module = tf.Module()
    module.model = model
    module.labels = tf.saved_model.Asset(str(labels))

    def answer(images: Any) -> dict[str, Any]:
        return {contract.OUTPUT_NAME: model(tf.cast(images, tf.float32), training=False)}

    def decode(encoded: Any) -> Any:
        return _prepared(tf, encoded, height, width)

    def answer_encoded(encoded: Any) -> dict[str, Any]:
        outputs: dict[str, Any] = serve(tf.map_fn(decode, encoded, fn_output_signature=tf.uint8))
        return outputs

    images = tf.TensorSpec((None, height, width, 3), tf.uint8, contract.INPUT_NAME)
    encoded = tf.TensorSpec((None,), tf.string, "image_bytes")
    serve = tf.function(answer).get_concrete_function(images)
    serve_jpeg = tf.function(answer_encoded).get_concrete_function(encoded)
    signatures = {"serving_default": serve, "serve": serve, "serve_jpeg": serve_jpeg}
    return module, signatures


def _prepared(tf: Any, encoded: Any, height: int, width: int) -> Any:
    """Return an encoded photo as the model takes it: uint8[height, width, 3]."""
    pixels = tf.image.resize(_pixels(tf, encoded), (height, width), "bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def _pixels(tf: Any, encoded: Any) -> Any:
    """Return the pixels uint8[h, w, 3] of an encoded photo: JPEG, PNG or GIF, transparency laid on white.

    TensorFlow has no operator for the EXIF orientation, which is not applied.
    """
    is_png = tf.equal(tf.strings.substr(encoded, 0, 4), b"\x89PNG")
    return tf.cond(
        is_png,
        lambda: _png_on_white(tf, encoded),
        # This decodes GIF too. Pillow uses the accurate method as well.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
    )


def _png_on_white(tf: Any, encoded: Any) -> Any:
    """Return the pixels uint8[h, w, 3] of a PNG on white; 16 bits are shifted, or refused if dark."""
    depth = tf.strings.substr(encoded, 24, 1)
    colours = tf.cast(tf.io.decode_png(encoded, channels=4), tf.float32)
    is_bright = tf.reduce_max(colours[:, :, :3]) >= bit_depth.QUARTER >> 8
    known = tf.debugging.Assert(tf.not_equal(depth, b"\x10") | is_bright, [UNKNOWN_RANGE])
    # Where less than 8 bits have no transparency, TensorFlow gives 1, 3 or 15 instead of 255 as alpha.
    is_small = tf.reduce_any(tf.equal(depth, [b"\x01", b"\x02", b"\x04"]))
    is_opaque = tf.cond(is_small, lambda: ~_has_transparency(tf, encoded), lambda: False)
    with tf.control_dependencies([known] if known is not None else []):
        alpha = tf.where(is_opaque, 1.0, colours[:, :, 3:] / 255)
    return tf.cast(tf.round(colours[:, :, :3] * alpha + 255 * (1 - alpha)), tf.uint8)


def _has_transparency(tf: Any, encoded: Any) -> Any:
    """Tell whether a PNG has the chunk tRNS."""
    codes = tf.io.decode_raw(encoded, tf.uint8)
    letters = (codes[:-3], codes[1:-2], codes[2:-1], codes[3:])
    alike = [part == code for part, code in zip(letters, b"tRNS", strict=True)]
    return tf.reduce_any(alike[0] & alike[1] & alike[2] & alike[3])


def _make_canonical(folder: Path) -> None:
    """Serialize the graph in one fixed order; drop the fingerprint, which holds a random number."""
    from tensorflow.core.protobuf import saved_model_pb2

    (folder / "fingerprint.pb").unlink(missing_ok=True)
    path = folder / "saved_model.pb"
    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString(path.read_bytes())
    path.write_bytes(proto.SerializeToString(deterministic=True))


class SavedModelSession:
    """A `Session` that runs the `serve` signature of a SavedModel."""

    def __init__(self, path: Path) -> None:
        self.kernels = "tensorflow-cpu"
        self._loaded = _load(path)
        if "serve" not in self._loaded.signatures:
            raise ArtifactError(f"{path}: the SavedModel has no signature 'serve'.")
        self._serve = self._loaded.signatures["serve"]

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict images uint8[N, H, W, 3]; return probabilities float32[N, classes]."""
        import numpy as np

        tf = tensorflow()
        batches = []
        for start in range(0, len(images), 32):
            batch = tf.constant(images[start : start + 32])
            batches.append(self._serve(image=batch)[contract.OUTPUT_NAME].numpy())
        return np.concatenate(batches)

    def run_encoded(self, photos: list[bytes]) -> NDArray[np.float32]:
        """Predict encoded photos through `serve_jpeg`; return probabilities float32[N, classes]."""
        tf = tensorflow()
        outputs = self._loaded.signatures["serve_jpeg"](image_bytes=tf.constant(photos))
        probabilities: NDArray[np.float32] = outputs[contract.OUTPUT_NAME].numpy()
        return probabilities


def _load(path: Path) -> Any:
    """Load the folder; the last one is kept until a file in it changes, because loading takes seconds."""
    return _loaded(path, state_of(path))


@lru_cache(maxsize=1)
def _loaded(path: Path, state: State) -> Any:
    del state
    tf = tensorflow()
    try:
        saved_model_judgement.require_data(
            path, ArtifactError, more=saved_model_judgement.PHOTOS, assets=("labels.txt",)
        )
        return tf.saved_model.load(str(path))
    except TledgeError:
        raise
    except Exception as error:  # TensorFlow raises many classes for a damaged folder
        raise ArtifactError(f"{path}: TensorFlow does not load it ({error}).") from error


def open_model(source: ModelSource, kernels: str) -> Session:
    """Open a SavedModel folder, in another process; `kernels` is for TFLite and ignored."""
    del kernels
    path = _folder(source)
    return sandbox.open_folder(path) if sandbox.is_possible("tensorflow") else SavedModelSession(path)


def _folder(source: ModelSource) -> Path:
    if isinstance(source, Path):
        return source
    raise ArtifactError(f"{source.name}: a file; expected the folder of a SavedModel.")


def inspect(source: ModelSource) -> Structure:
    """Find the structure of a SavedModel: signatures, variables, operators, the labels asset.

    Another process loads it. Raises ArtifactError where the folder is damaged, has no signature `serve`, or
    ends that process.
    """
    path = _folder(source)
    if not sandbox.is_possible("tensorflow"):
        return inspect_here(path)
    request = {"do": "inspect", "name": str(path.absolute())}
    _process, reply = sandbox.ask_tensorflow(request, str(path))
    return from_json(Structure, reply["structure"])


def inspect_here(path: Path) -> Structure:
    """Find the structure of a SavedModel in this process; raise as `inspect` does."""
    loaded = _load(path)
    try:
        serve = loaded.signatures["serve"]
        graph = serve.graph
    except KeyError as error:
        raise ArtifactError(f"{path}: the SavedModel has no signature 'serve'.") from error
    weights: dict[str, int] = {}
    zeroed = []
    for variable in serve.variables:
        array = variable.numpy()
        weights[array.dtype.name] = weights.get(array.dtype.name, 0) + array.nbytes
        if is_zeroed(array):
            zeroed.append(variable.name)
    return Structure(
        inputs=tuple(_port(tensor) for tensor in serve.structured_input_signature[1].values()),
        outputs=tuple(_port(tensor, name) for name, tensor in serve.structured_outputs.items()),
        weights=weights,
        activations=tuple(sorted({out.dtype.name for op in graph.get_operations() for out in op.outputs})),
        operators=tuple(sorted(_operators(graph))),
        zeroed=tuple(zeroed),
        labels=_labels(path),
    )


def _operators(graph: Any) -> set[str]:
    """Return the operators of the graph and of the functions that it calls."""
    proto = graph.as_graph_def()
    nodes = list(proto.node) + [node for function in proto.library.function for node in function.node_def]
    return {node.op for node in nodes}


def _port(tensor: Any, name: str = "") -> Port:
    shape = tuple(-1 if side is None else int(side) for side in tensor.shape)
    return Port(name or tensor.name, tensor.dtype.name, shape)


def _labels(path: Path) -> tuple[str, ...] | None:
    asset = path / "assets" / "labels.txt"
    return contract.parse_labels(asset.read_text(encoding="utf-8")) if asset.is_file() else None


FORMAT = Format(
    suffix="",
    modes={
        "": Mode(
            "TensorFlow, for servers: takes pixels or encoded photos",
            "float",
            "float32",
            (3.5, 6.0),
            overhead=8 << 20,
        )
    },
    convert=convert,
    open=open_model,
    inspect=inspect,
    to_convert=Needs(("keras", "tensorflow"), install_command("export")),
    to_open=Needs(("tensorflow",), install_command("export")),
    to_inspect=Needs(("tensorflow",), install_command("export")),
)
