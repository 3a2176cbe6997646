"""Thousands of nasty names, drawn by hypothesis, and artifacts that carry labels without being converted."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

AFFIXES = (
    "",
    "",
    "",
    " ",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\t",
    ".",
    ",",
    '"',
    "'",
    "|",
    "[",
    "]",
    "0 ",
    "#",
    "\u0301",
)
"""What stands before and behind a name."""

LETTERS = st.sampled_from(
    [chr(code) for code in (*range(32, 127), *range(160, 0x250), *range(0x300, 0x310), *range(0x3B1, 0x3CA))]
    + list(
        "لگو漢字かながあ한글देवनागरी🙂🌹❤\ufe0f\u200d\u200c\u200e\u00ad\u3000\u2028\x00\n\x1b\x85\udcff\u202e\U000e0067"
    )
)


def variants(name: str, number: int) -> tuple[str, ...]:
    """Return a name as it was drawn, with blanks or quotes around it, and in another Unicode form."""
    before, behind = AFFIXES[number % len(AFFIXES)], AFFIXES[number // len(AFFIXES) % len(AFFIXES)]
    return name, f"{before}{name}{behind}", unicodedata.normalize(("NFC", "NFD")[number % 2], name)


def draw_names(count: int) -> list[str]:
    """Draw at least `count` different names, the same ones every time."""
    names: dict[str, None] = {}

    @settings(
        max_examples=count // 20, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(st.text(LETTERS, min_size=2, max_size=12), min_size=50, max_size=60))
    def collect(batch: list[str]) -> None:
        if len(names) < count:
            for name in batch:
                names.update(dict.fromkeys(variants(name, len(names))))

    collect()
    assert len(names) >= count
    return list(names)[:count]


def tflite_with(labels: tuple[str, ...]) -> bytes:
    """Return a `.tflite` of one RESHAPE whose metadata holds these labels."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from tledge.formats.tflite_metadata_writer import write_metadata

    def tensor(name: str, shape: list[int]) -> Any:
        new = schema.TensorT()
        new.name, new.shape, new.buffer, new.type = name, shape, 0, schema.TensorType.FLOAT32
        return new

    code, operator, graph, model = (
        schema.OperatorCodeT(),
        schema.OperatorT(),
        schema.SubGraphT(),
        schema.ModelT(),
    )
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    operator.inputs, operator.outputs = [0], [1]
    graph.tensors = [tensor("x", [1, 1, len(labels)]), tensor("y", [1, len(labels)])]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    plain = bytes(builder.Output())
    return write_metadata(plain, name="n", description="", version="1", labels=list(labels))


def onnx_with(labels: tuple[str, ...], path: Path) -> Path:
    """Write an `.onnx` of one Flatten that is described as an export describes it."""
    import onnx

    from tledge.formats import onnx_conversion
    from tledge.formats.jobs import ConversionTarget

    helper, byte = onnx.helper, onnx.TensorProto.UINT8
    image = helper.make_tensor_value_info("image", byte, [1, 2, 2, 3])
    out = helper.make_tensor_value_info("probabilities", byte, [1, 12])
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["probabilities"])], "g", [image], [out]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx_conversion.OPSET)])
    model.ir_version = 8
    onnx_conversion._describe(onnx, model, ConversionTarget("", "", "", "n", "1", "", labels))
    assert json.loads(next(entry.value for entry in model.metadata_props if entry.key == "labels"))
    onnx.save(model, str(path))
    return path
