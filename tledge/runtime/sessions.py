"""Run artifacts as a device does: LiteRT and ONNX Runtime behind one interface, without TensorFlow.

Callers need `Session.run(uint8[N, H, W, 3]) -> float32[N, classes]`. Three words describe where a model runs:

- The **runtime** is the library: LiteRT for `.tflite`, ONNX Runtime for `.onnx`.
- A **delegate** is a part of LiteRT that takes over operators it has faster code for; XNNPACK is the one
  for CPUs.
- The **kernel family** is the code that computes the operators in LiteRT: `xnnpack` (the XNNPACK delegate,
  and built-in kernels for what it lacks), `builtin` (LiteRT's optimized kernels without a delegate), or
  `reference` (LiteRT's plain C++ kernels, which microcontrollers use as well). int8 results differ slightly
  between the families, so every figure names its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tledge._io import files
from tledge._process import optional_imports
from tledge._process.native_output import native_stderr_closed
from tledge.errors import ArtifactError, MissingError, RecipeError, TledgeError
from tledge.runtime.model_file import ModelSource, read_model
from tledge.runtime.onnx_weights import refuse_external_data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KERNELS = ("xnnpack", "builtin", "reference")
"""LiteRT's kernel families, the default first."""

ONNX_DTYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float16)": "float16",
               "tensor(double)": "float64", "tensor(float)": "float32"}  # fmt: skip
"""numpy's name of ONNX Runtime's types of an input."""

MAX_SIDE = 8192
"""Largest height and width in pixels of a model's input: one image of more would not fit into memory."""


@contextmanager
def runtime_errors_as(message: str) -> Iterator[None]:
    """Turn a runtime's own exceptions into an ArtifactError that begins with `message`.

    Args:
        message: What failed, such as "m.tflite: LiteRT does not load it"; the reason follows in brackets.

    Raises:
        ArtifactError: the block raised anything but a TledgeError, which passes unchanged.
    """
    try:
        yield
    except TledgeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ArtifactError(f"{message} ({reason}).") from error


def _image_size(shape: Sequence[Any], name: str) -> tuple[int, int]:
    """Return height and width of an input [N, height, width, 3]; raise ArtifactError for another shape."""
    sizes = [size for size in shape[1:] if isinstance(size, int) and 1 <= size <= MAX_SIDE]
    if len(shape) != 4 or len(sizes) != 3 or sizes[2] != 3:
        raise ArtifactError(
            f"{name}: the model's input has shape {list(shape)}, expected an RGB image [N, height, width, 3]."
        )
    return sizes[0], sizes[1]


class Session(Protocol):
    """A model that is open in its runtime.

    Attributes:
        kernels: What computes the operators, as shown beside every figure: a kernel family of LiteRT, or
            "onnxruntime-cpu", "tensorflow-cpu" or "keras".
    """

    kernels: str

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict the classes of images.

        Args:
            images: uint8[N, H, W, 3] in RGB, of the model's own height and width.

        Returns:
            Class probabilities float32[N, classes].

        Raises:
            ArtifactError: the images have another size, or the model does not run.
        """


def quantize(values: NDArray[np.float32], scale: float, zero_point: int, dtype: Any) -> NDArray[Any]:
    """Quantize real values: round(value / scale) + zero point, clipped to the range of `dtype`.

    Args:
        values: float32 of any shape.
        scale: Step between two integers; not 0.
        zero_point: The integer that stands for 0.0.
        dtype: The integer dtype to return.

    Returns:
        Integers of `dtype` in the shape of `values`.
    """
    import numpy as np

    bounds = np.iinfo(dtype)
    integers: NDArray[Any] = np.clip(np.round(values / scale) + zero_point, bounds.min, bounds.max)
    return integers.astype(dtype)


def dequantize(values: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """Compute real values of integers: scale * (value - zero point), the quantization scheme of LiteRT.

    Args:
        values: Integers of any shape and dtype up to 32 bits.
        scale: Step between two integers.
        zero_point: The integer that stands for 0.0.

    Returns:
        float32 in the shape of `values`.
    """
    import numpy as np

    return (np.float32(scale) * (values.astype(np.int32) - zero_point)).astype(np.float32)


def top_k(probabilities: NDArray[np.float32], labels: Sequence[str], k: int) -> list[tuple[str, float]]:
    """Return the `k` most probable labels of one image.

    Args:
        probabilities: float32[classes].
        labels: The name of each class, in order.
        k: How many to return at most.

    Returns:
        (label, probability), the most probable first; equal ones in label order.
    """
    import numpy as np

    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(labels[index], float(probabilities[index])) for index in order]


class LiteRTSession:
    """A `.tflite` model in LiteRT's `Interpreter`.

    Models that tledge did not make run too: float input takes the bytes as numbers, int8 and int16 input
    takes them quantized with its own scale.
    """

    def __init__(self, model: bytes, name: str, kernels: str = "xnnpack", threads: int = 1) -> None:
        """Load the model and allocate its tensors.

        Args:
            model: The content of the file.
            name: Its name for error messages.
            kernels: The kernel family, one of `KERNELS`.
            threads: Threads for one image; the reference kernels use one whatever this says.

        Raises:
            ArtifactError: the file is damaged, or LiteRT cannot load it.
            MissingError: LiteRT is not installed.
            RecipeError: the kernel family is unknown.
        """
        self.kernels = kernels
        self._name = name
        self._interpreter = _interpreter(model, name, kernels, threads)
        with runtime_errors_as(f"{name}: LiteRT does not load it"):
            self._input = self._interpreter.get_input_details()[0]
            self._output = self._interpreter.get_output_details()[0]
            self.input_shape = tuple(int(size) for size in self._input["shape"])
            self._signature = tuple(int(size) for size in self._input.get("shape_signature", ()))
            self.output_shape = tuple(int(size) for size in self._output["shape"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where the input is not one RGB image."""
        return _image_size(self.input_shape, self._name)

    @property
    def classes(self) -> int | None:
        """How many values the model returns for an image; None where the file does not say."""
        return self.output_shape[-1] if self.output_shape else None

    @property
    def is_integer(self) -> bool:
        """Whether the model returns integers of 8 bits."""
        import numpy as np

        return bool(self._output["dtype"] in (np.uint8, np.int8))

    def run(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict images one by one; see `Session.run`.

        Values float32 in the shape of the input are real numbers, which a quantized input gets quantized.
        """
        import numpy as np

        self._fit_size(images)
        with runtime_errors_as(f"{self._name}: loads but does not run"):
            rows = [self._predict(image) for image in images]
        return np.concatenate(rows) if rows else np.zeros((0, self.output_shape[-1]), np.float32)

    def _fit_size(self, images: NDArray[Any]) -> None:
        """Resize the input to the images where its signature leaves sizes free."""
        wanted, expected = images.shape[1:], self.input_shape[1:]
        if wanted == expected:
            return
        free = self._signature[1:]
        is_free = expected[:2] == (1, 1)  # what a converter writes that drops the signature
        fits = [side in (size, -1) or is_free for side, size in zip(free, wanted, strict=False)]
        if len(free) != len(wanted) or not all(fits):
            raise ArtifactError(f"{self._name}: takes images {expected}, got {wanted}.")
        self.input_shape = (1, *wanted)
        with runtime_errors_as(f"{self._name}: does not take images of {wanted}"):
            self._interpreter.resize_tensor_input(self._input["index"], self.input_shape)
            self._interpreter.allocate_tensors()

    def _predict(self, image: NDArray[Any]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], self._to_input(image)[None])
        self._interpreter.invoke()
        return self._to_probabilities(self._interpreter.get_tensor(self._output["index"]))

    def _to_input(self, image: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        dtype = self._input["dtype"]
        scale, zero_point = self._input["quantization"]
        if dtype == np.uint8 and image.dtype == np.uint8:
            return image  # a byte input takes the byte, whatever real number it represents
        values = image.astype(np.float32)
        return quantize(values, scale, zero_point, dtype) if scale else values.astype(dtype)

    def _to_probabilities(self, output: NDArray[Any]) -> NDArray[np.float32]:
        import numpy as np

        scale, zero_point = self._output["quantization"]
        return dequantize(output, scale, zero_point) if scale else output.astype(np.float32)


def _interpreter(model: bytes, name: str, kernels: str, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingError(f"LiteRT is not installed ({error}): pip install ai-edge-litert") from error
    resolvers = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }
    if kernels not in resolvers:
        raise RecipeError(f"{kernels}: not a kernel family of LiteRT. Expected one of {', '.join(KERNELS)}.")
    check_tflite(model, name)
    with runtime_errors_as(f"{name}: LiteRT does not load it"), native_stderr_closed():
        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=resolvers[kernels],
            num_threads=threads,
        )
        interpreter.allocate_tensors()
    return interpreter


def check_tflite(model: bytes, name: str) -> None:
    """Check the length and the file identifier of a `.tflite` file before native code reads it.

    LiteRT verifies the offsets of the flatbuffer itself when it loads the file.

    Args:
        model: The content of the file.
        name: Its name for error messages.

    Raises:
        ArtifactError: the file is too short, or the identifier is not TFL3.
    """
    if len(model) < 64 or model[4:8] != b"TFL3":
        raise ArtifactError(
            f"{name}: not a TFLite file ({len(model)} bytes, no TFL3 identifier); truncated or of another "
            "format."
        )


class OnnxSession:
    """A `.onnx` model in ONNX Runtime on the CPU.

    Attributes:
        metadata: The file's metadata properties; tledge writes the labels there as a JSON list.
        input: ONNX Runtime's description of the input: name, shape and type.
        output: The same of the output.
    """

    def __init__(self, model: bytes, name: str, threads: int = 1, batch: int = 8) -> None:
        """Load the model.

        Args:
            model: The content of the file.
            name: Its name for error messages.
            threads: Threads within one operator.
            batch: Images that are predicted at a time.

        Raises:
            ArtifactError: the file is damaged, its weights are in another file, or ONNX Runtime cannot load
                it.
            MissingError: ONNX Runtime is not installed.
        """
        self.kernels = "onnxruntime-cpu"
        self._name = name
        self._batch = batch
        self._session = _onnx_runtime_session(model, name, threads)
        with runtime_errors_as(f"{name}: ONNX Runtime does not load it"):
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
            self.input = self._session.get_inputs()[0]
            self.output = self._session.get_outputs()[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where the input is not RGB images."""
        return _image_size(self.input.shape, self._name)

    @property
    def classes(self) -> int | None:
        """How many values the model returns for an image; None where the file does not say."""
        last = self.output.shape[-1] if self.output.shape else None
        return last if isinstance(last, int) else None

    def run(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict images in batches, or values float32 in the shape of the input; see `Session.run`."""
        import numpy as np

        dtype = ONNX_DTYPES.get(self.input.type, "float32")
        first = self.input.shape[0] if self.input.shape else None
        batch = first if isinstance(first, int) and first > 0 else self._batch
        with runtime_errors_as(f"{self._name}: loads but does not run"):
            batches = [
                self._session.run(None, {self.input.name: images[start : start + batch].astype(dtype)})
                for start in range(0, len(images), batch)
            ]
            if not batches:
                return np.zeros((0, self.classes or 0), np.float32)
            return np.concatenate([outputs[0] for outputs in batches]).astype(np.float32)


def _onnx_runtime_session(model: bytes, name: str, threads: int) -> Any:
    optional_imports.disable_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"{name}: needs ONNX Runtime, which is not installed: pip install onnxruntime"
        ) from error
    refuse_external_data(model, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # x86 without VNNI adds products of bytes in 16 bits and clips them, which changes the predictions of an
    # int8 file; this selects exact kernels on those processors and changes nothing elsewhere
    # (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    options.add_session_config_entry("session.x64quantprecision", "1")
    # What was judged above is ONNX; ONNX Runtime would also take a file of its own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    with runtime_errors_as(f"{name}: ONNX Runtime does not load it"):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def check_suffix(source: ModelSource) -> None:
    """Raise ArtifactError unless the name ends in `.tflite` or `.onnx`; the file is not read."""
    if files.ending(source.name) not in (".tflite", ".onnx"):
        where = source if isinstance(source, Path) else source.name
        raise ArtifactError(f"{where}: not a .tflite or .onnx model. Is the order MODEL PHOTO...?")


def open_session(
    source: ModelSource, kernels: str = "xnnpack", threads: int = 1
) -> LiteRTSession | OnnxSession:
    """Open a `.tflite` model in LiteRT, or a `.onnx` model in ONNX Runtime.

    Args:
        source: The path of the file, or the file that was read already.
        kernels: The kernel family of LiteRT; ONNX Runtime has one.
        threads: Threads for one image.

    Returns:
        The session, which also knows its `image_size` and `classes`.

    Raises:
        ArtifactError: the file is damaged, or neither a `.tflite` nor a `.onnx` file.
        MissingError: its runtime is not installed.
        RecipeError: the kernel family is unknown.
    """
    check_suffix(source)
    model = read_model(source)
    if files.ending(model.name) == ".tflite":
        return LiteRTSession(model.content, model.name, kernels, threads)
    return OnnxSession(model.content, model.name, threads)
