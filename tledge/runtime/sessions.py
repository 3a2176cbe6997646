"""Running artifacts on a device: LiteRT and ONNX Runtime behind one seam, without TensorFlow.

`Session.run(uint8[N, H, W, 3]) -> float32[N, classes]` is all a caller needs to know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from tledge._process import optional_imports
from tledge._process.native_output import native_stderr_closed
from tledge.errors import ArtifactError, MissingError, RecipeError, TledgeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KERNELS = ("xnnpack", "builtin", "reference")
"""LiteRT's kernel families; their int8 numbers differ, so every figure names one."""


MAX_SIDE = 8192
"""Pixels a side: models that take larger images are refused, for one would not fit into memory."""


@contextmanager
def runtime_errors_as(what: str) -> Iterator[None]:
    """Turn what a runtime raises, each in classes of its own, into an ArtifactError beginning with `what`."""
    try:
        yield
    except TledgeError:
        raise
    except Exception as error:
        raise ArtifactError(f"{what} ({' '.join(str(error).split())[:300] or repr(error)}).") from error


def _image_size(shape: Sequence[Any], name: str) -> tuple[int, int]:
    """Height and width of a model's input [N, height, width, 3]; raises ArtifactError for any other."""
    sides = [one for one in shape[1:] if isinstance(one, int) and 1 <= one <= MAX_SIDE]
    if len(shape) != 4 or len(sides) != 3 or sides[2] != 3:
        raise ArtifactError(f"{name}: takes {list(shape)}, expected one image as [N, height, width, 3].")
    return sides[0], sides[1]


class Session(Protocol):
    """An opened artifact."""

    kernels: str
    """Which kernels compute, as shown beside every figure."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities float32[N, classes] of RGB bytes uint8[N, H, W, 3]."""


def quantize(values: NDArray[np.float32], scale: float, zero_point: int, dtype: Any) -> NDArray[Any]:
    """Real values to integers: round(value / scale) + zero point, clipped to the type's range."""
    import numpy as np

    info = np.iinfo(dtype)
    made: NDArray[Any] = np.clip(np.round(values / scale) + zero_point, info.min, info.max)
    return made.astype(dtype)


def dequantize(values: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """Integers to real values: scale * (value - zero point), the LiteRT quantization scheme."""
    import numpy as np

    return (np.float32(scale) * (values.astype(np.int32) - zero_point)).astype(np.float32)


def top_k(probabilities: NDArray[np.float32], labels: Sequence[str], k: int) -> list[tuple[str, float]]:
    """The k most probable (label, probability) of one image, best first; ties by label order."""
    import numpy as np

    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(labels[index], float(probabilities[index])) for index in order]


class LiteRTSession:
    """A `.tflite` model in LiteRT's `Interpreter`.

    Files made elsewhere are served too: float input takes the bytes as numbers, int8 and int16
    input takes them quantized with its own scale. Raises ArtifactError where it does not load.
    """

    def __init__(self, model: bytes, name: str, kernels: str = "xnnpack", threads: int = 1) -> None:
        self.kernels = kernels
        self._name = name
        self._interpreter = _interpreter(model, name, kernels, threads)
        with runtime_errors_as(f"{name}: LiteRT does not load it"):
            self._input = self._interpreter.get_input_details()[0]
            self._output = self._interpreter.get_output_details()[0]
            self.input_shape = tuple(int(side) for side in self._input["shape"])
            self.output_shape = tuple(int(side) for side in self._output["shape"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where it does not take one RGB image."""
        return _image_size(self.input_shape, self._name)

    @property
    def classes(self) -> int | None:
        """How many values it gives for an image."""
        return self.output_shape[-1] if self.output_shape else None

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        self._check(images)
        with runtime_errors_as(f"{self._name}: loads but does not run"):
            rows = [self._one(image) for image in images]
        return np.concatenate(rows) if rows else np.zeros((0, self.output_shape[-1]), np.float32)

    def _check(self, images: NDArray[np.uint8]) -> None:
        wanted = self.input_shape[1:]
        if images.shape[1:] != wanted:
            raise ArtifactError(f"{self._name}: takes images {wanted}, got {images.shape[1:]}.")

    def _one(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], self._encode(image)[None])
        self._interpreter.invoke()
        return self._decode(self._interpreter.get_tensor(self._output["index"]))

    def _encode(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        import numpy as np

        dtype = self._input["dtype"]
        scale, zero_point = self._input["quantization"]
        if dtype == np.uint8:
            return image  # a byte input takes the byte, whatever real number it stands for
        values = image.astype(np.float32)
        return quantize(values, scale, zero_point, dtype) if scale else values.astype(dtype)

    def _decode(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        import numpy as np

        scale, zero_point = self._output["quantization"]
        return dequantize(raw, scale, zero_point) if scale else raw.astype(np.float32)


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
        raise RecipeError(f"{kernels}: no such LiteRT kernels. Known: {', '.join(KERNELS)}.")
    check_tflite(model, name)
    with runtime_errors_as(f"{name}: LiteRT does not load it"), native_stderr_closed():
        made = Interpreter(
            model_content=model,
            experimental_op_resolver_type=resolvers[kernels],
            num_threads=threads,
        )
        made.allocate_tensors()
    return made


def check_tflite(model: bytes, name: str) -> None:
    """Refuse what is plainly no whole `.tflite` file, before native code reads it.

    Raises ArtifactError. LiteRT itself verifies the flatbuffer's offsets after this.
    """
    if len(model) < 64 or model[4:8] != b"TFL3":
        raise ArtifactError(
            f"{name}: not a TFLite file ({len(model)} bytes, no TFL3 mark); truncated or another format."
        )


class OnnxSession:
    """A `.onnx` model in ONNX Runtime on the CPU; raises ArtifactError where it does not load."""

    def __init__(self, model: bytes, name: str, threads: int = 1, batch: int = 8) -> None:
        self.kernels = "onnxruntime-cpu"
        self._batch = batch
        optional_imports.disable_telemetry()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingError(
                f"{name}: needs ONNX Runtime, which is not installed: pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # x86 without VNNI adds products of bytes in 16 bits and clips them, so that an int8 file answers
        # otherwise there; this takes exact kernels on those processors and changes nothing elsewhere
        # (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._name = name
        with runtime_errors_as(f"{name}: ONNX Runtime does not load it"):
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
            self.input = self._session.get_inputs()[0]
            self.output = self._session.get_outputs()[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; raises ArtifactError where it does not take RGB images."""
        return _image_size(self.input.shape, self._name)

    @property
    def classes(self) -> int | None:
        """How many values it gives for an image; None where the file does not say."""
        last = self.output.shape[-1] if self.output.shape else None
        return last if isinstance(last, int) else None

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        dtype = np.uint8 if "uint8" in self.input.type else np.float32
        with runtime_errors_as(f"{self._name}: loads but does not run"):
            parts = [
                self._session.run(None, {self.input.name: images[start : start + self._batch].astype(dtype)})
                for start in range(0, len(images), self._batch)
            ]
            return np.concatenate([part[0] for part in parts]).astype(np.float32)


PIECE = 8
"""Images that a session of a pool takes at a time: few, so that no core waits long for another at the end."""


class SessionPool:
    """Equal sessions of one thread each, behind one: whichever is idle takes the next few images.

    For small networks this uses the processor better than many threads on one image.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.kernels = sessions[0].kernels
        self._count = len(sessions)
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for one in sessions:
            self._idle.put(one)
        self._threads = ThreadPoolExecutor(len(sessions))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        size = max(1, min(PIECE, -(-len(images) // self._count)))
        pieces = [images[start : start + size] for start in range(0, max(1, len(images)), size)]
        return np.concatenate(list(self._threads.map(self._take, pieces)))

    def _take(self, piece: NDArray[np.uint8]) -> NDArray[np.float32]:
        session = self._idle.get()
        try:
            return session.run(piece)
        finally:
            self._idle.put(session)


def run_on_all_cores(model: bytes, name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities of a `.tflite` model by XNNPACK, images divided over the processors."""
    return SessionPool([LiteRTSession(model, name) for _ in range(os.cpu_count() or 1)]).run(images)


def open_session(path: Path, kernels: str = "xnnpack", threads: int = 1) -> LiteRTSession | OnnxSession:
    """Open a `.tflite` or `.onnx` file.

    Raises ArtifactError where it is damaged or of another kind, MissingError where its runtime
    is not installed.
    """
    if path.suffix == ".tflite":
        return LiteRTSession(path.read_bytes(), path.name, kernels, threads)
    if path.suffix == ".onnx":
        return OnnxSession(path.read_bytes(), path.name, threads)
    raise ArtifactError(f"{path}: runs neither in LiteRT (.tflite) nor in ONNX Runtime (.onnx).")
