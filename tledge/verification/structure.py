"""Check the structure of an artifact against the contract: dtypes, shapes, operators, weights, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tledge.contract import InputSpec

if TYPE_CHECKING:
    from tledge.formats.base import Mode, Port, Structure


MAX_REASONS = 3
"""Kernels of zeros that are named."""

WIDTHS = {"float64": 8, "float32": 4, "int32": 4, "int64": 8, "float16": 2, "int16": 2}
"""Bytes of a value, 1 where not listed."""

RANDOM_OPERATORS = ("random", "bernoulli", "multinomial")
"""Parts of the names of operators that draw random numbers."""


def structure_reasons(
    structure: Structure,
    mode: Mode,
    *,
    labels: tuple[str, ...],
    spec: InputSpec,
    parameters: int,
    file_bytes: int,
) -> list[str]:
    """List what breaks the contract in the file itself; empty where nothing does.

    Args:
        structure: What inspection found in the file.
        mode: The mode of the format that it should be in.
        labels: The labels in the order of the outputs.
        spec: The contract's input.
        parameters: How many parameters the model has.
        file_bytes: Size of the file.
    """
    return [
        *_port_reasons(structure, mode, labels, spec),
        *operator_reasons(structure.operators),
        *_weight_reasons(structure, mode, parameters, file_bytes),
        *_label_reasons(structure, labels),
        *(f"all weights of {name} are zero" for name in structure.zeroed[:MAX_REASONS]),
    ]


def _port_reasons(structure: Structure, mode: Mode, labels: tuple[str, ...], spec: InputSpec) -> list[str]:
    if len(structure.inputs) != 1 or len(structure.outputs) != 1:
        return [f"has {len(structure.inputs)} inputs and {len(structure.outputs)} outputs, expected one each"]
    model_input, output = structure.inputs[0], structure.outputs[0]
    batch = mode.batch or -1
    reasons = []
    expected = (batch, spec.height, spec.width, 3)
    if model_input.shape != expected:
        shape = f"{model_input.dtype}{list(model_input.shape)}"
        reasons.append(f"takes {shape}, the contract says {list(expected)}")
    if output.shape[-1] != len(labels):
        reasons.append(f"returns {output.shape[-1]} values for {len(labels)} labels")
    return reasons + _input_reasons(model_input, mode)


def _input_reasons(model_input: Port, mode: Mode) -> list[str]:
    if model_input.dtype != mode.input:
        return [f"takes {model_input.dtype} input, the contract says {mode.input}"]
    if mode.input == "int16":
        return []
    if mode.calibrated and not model_input.scale:
        return ["its input is not quantized: a float model, or one with integer weights alone"]
    if mode.calibrated and (abs(model_input.scale - 1) > 1e-6 or model_input.zero_point != 0):
        cause = (
            "calibrated on images scaled to 0..1"
            if abs(model_input.scale * 255 - 1) < 0.01
            else "the calibration set does not span 0..255"
        )
        quantization = f"input scale {model_input.scale:.6g} and zero point {model_input.zero_point}"
        return [f"{quantization}, expected 1 and 0: {cause}"]
    return []


def operator_reasons(operators: tuple[str, ...]) -> list[str]:
    """List operators that no runtime on a device has, or that mean a faulty export."""
    reasons = []
    flex = [name for name in operators if name.startswith("Flex")]
    variables = [name for name in operators if name in ("READ_VARIABLE", "VAR_HANDLE")]
    random = [name for name in operators if any(word in name.lower() for word in RANDOM_OPERATORS)]
    if flex:
        reasons.append(f"needs TensorFlow operators that LiteRT lacks: {', '.join(flex)}")
    if variables:
        reasons.append(f"reads its weights from variables ({', '.join(variables)}): the weights were dropped")
    if random:
        reasons.append(f"has random operators ({', '.join(random)}): augmentation was left in the graph")
    return reasons


def _weight_reasons(structure: Structure, mode: Mode, parameters: int, file_bytes: int) -> list[str]:
    total = sum(structure.weights.values())
    counts = {name: size / WIDTHS.get(name, 1) for name, size in structure.weights.items()}
    own = counts.get(mode.weights, 0)
    reasons = []
    floats = [name for name in ("float32", "float16") if name in (*structure.weights, *structure.activations)]
    if mode.integer_only and floats:
        share = sum(structure.weights.get(name, 0) for name in floats) / max(1, total)
        cause = ": a float model under an integer name; an empty calibration set gives one" * (share > 0.5)
        reasons.append(f"holds {' and '.join(floats)} tensors ({share:.0%} of the weights){cause}")
    elif not own or own < 0.5 * sum(counts.values()):
        dtype = max(counts, key=lambda name: counts[name], default="no")
        reasons.append(f"weights are {dtype}, expected {mode.weights}")
    low, high = (parameters * share for share in mode.size)
    if not low <= file_bytes <= high + mode.overhead:
        cause = "the weights were dropped" if file_bytes < low else "it contains more than the model"
        reasons.append(
            f"{file_bytes} bytes for {parameters} parameters, expected {low:.0f} to "
            f"{high + mode.overhead:.0f}: {cause}"
        )
    return reasons


def _label_reasons(structure: Structure, labels: tuple[str, ...]) -> list[str]:
    if structure.labels is None:
        return ["carries no labels"]
    if structure.labels != labels:
        wrong = next(
            (pair for pair in zip(structure.labels, labels, strict=False) if pair[0] != pair[1]), None
        )
        where = f": {wrong[0]!r} where labels.txt says {wrong[1]!r}" if wrong else ""
        return [f"its labels differ from labels.txt{where}; labels are shuffled or of another model"]
    return []
