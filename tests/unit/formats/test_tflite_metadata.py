"""Metadata and labels in a TFLite file: written, read back, and the model left as it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Done
from tledge.errors import ArtifactError
from tledge.formats.tflite_metadata import read_metadata
from tledge.formats.tflite_metadata_writer import write_metadata

flatbuffers = pytest.importorskip("flatbuffers")
np = pytest.importorskip("numpy")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

LABELS = ["daisy", "rose", "tulip"]
TEXTS: dict[str, Any] = {"name": "Flowers", "description": "Three flowers.", "version": "2"}
WEIGHTS = [[1.0, 0.0, 2.0, -1.0], [0.5, 1.5, 0.0, 0.25], [3.0, 0.0, 0.0, 1.0]]


def tensor(name: str, shape: list[int], buffer: int) -> Any:
    new = schema.TensorT()
    new.name, new.shape, new.buffer, new.type = name, shape, buffer, schema.TensorType.FLOAT32
    return new


def dense() -> tuple[Any, Any]:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    return code, operator


def build(outputs: int = 1, entries: dict[str, bytes] | None = None) -> bytes:
    """Build a model of one dense layer, 4 values in and 3 out, with these metadata entries."""
    code, operator = dense()
    graph = schema.SubGraphT()
    graph.tensors = [tensor("x", [1, 4], 0), tensor("w", [3, 4], 1), tensor("y", [1, 3], 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [2] * outputs, [operator]
    model = schema.ModelT()
    model.version, model.description = 3, "by hand"
    model.operatorCodes, model.subgraphs = [code], [graph]
    model.buffers, model.metadata = [schema.BufferT(), schema.BufferT()], []
    model.buffers[1].data = np.array(WEIGHTS, np.float32).reshape(-1).view(np.uint8)
    for name, data in (entries or {}).items():
        model.metadata.append(schema.MetadataT(name=name, buffer=len(model.buffers)))
        model.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def metadata_of(model: bytes) -> dict[str, bytes]:
    """Return the metadata entries, as the generated reader of the schema sees them."""
    root = schema.Model.GetRootAs(model)
    entries = [root.Metadata(i) for i in range(root.MetadataLength())]
    return {e.Name().decode(): bytes(root.Buffers(e.Buffer()).DataAsNumpy()) for e in entries}


def answer(model: bytes) -> Any:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PIXELS)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


PIXELS = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)


def test_round_trip() -> None:
    found = read_metadata(write_metadata(build(), **TEXTS, labels=LABELS))
    assert found == {
        **TEXTS,
        "min_parser_version": "1.0.0",
        "labels": LABELS,
        "input": {
            "name": "image",
            "description": "RGB image, values 0 to 255.",
            "content": "image",
            "color_space": "RGB",
            "mean": [0.0],
            "std": [1.0],
            "min": [0.0],
            "max": [255.0],
            "files": [],
        },
        "output": {
            "name": "probabilities",
            "description": "Probability of each class.",
            "content": "feature",
            "color_space": None,
            "mean": [],
            "std": [],
            "min": [0.0],
            "max": [1.0],
            "files": ["labels.txt"],
        },
    }


@pytest.mark.parametrize(
    "labels",
    [
        ["Gänseblümchen", "バラ", "🌷 tulip"],
        ["", "a b", ""],
        ["line\u2028separator", "x\x0b", "\ufeff"],
    ],
)
def test_labels_come_back_as_they_were(labels: list[str]) -> None:
    texts = {"name": "Blümchen", "description": "", "version": "β"}
    found = read_metadata(write_metadata(build(), **texts, labels=labels))
    assert found["labels"] == labels
    assert {key: found[key] for key in texts} == texts


def test_model_still_runs_and_answers_the_same() -> None:
    made = write_metadata(build(), **TEXTS, labels=LABELS)
    assert np.array_equal(answer(made), PIXELS @ np.array(WEIGHTS, np.float32).T)
    assert np.array_equal(answer(made), answer(build()))


def test_everything_else_in_the_model_is_kept() -> None:
    model = build(entries={"min_runtime_version": b"1.5.0", "TFLITE_METADATA": b"old", "CONV": b"x"})
    made = write_metadata(model, **TEXTS, labels=LABELS)
    entries = metadata_of(made)
    assert entries.pop("TFLITE_METADATA")[4:8] == b"M001"
    assert entries == {"min_runtime_version": b"1.5.0", "CONV": b"x"}
    old, new = (schema.Model.GetRootAs(data) for data in (model, made))
    assert (new.Version(), new.Description()) == (old.Version(), old.Description())
    assert new.BuffersLength() == old.BuffersLength()
    assert bytes(new.Buffers(1).DataAsNumpy()) == bytes(old.Buffers(1).DataAsNumpy())
    assert model.rstrip(b"\0") in made and made.index(model[:64]) % 64 == 0


def test_layout_is_the_documented_one() -> None:
    """New root, identifier, mark, length of the new part; then the old model, byte for byte."""
    model = build()
    made = write_metadata(model, **TEXTS, labels=LABELS)
    assert (made[4:8], made[8:12]) == (b"TFL3", b"TLEP")
    start = int.from_bytes(made[12:16], "little")
    assert start % 64 == 0 and int.from_bytes(made[:4], "little") < start
    assert made[start : start + len(model)] == model
    archive = start + len(model) + -len(model) % 64
    assert made[archive:].startswith(b"PK")


def test_the_same_bytes_every_time() -> None:
    once = write_metadata(build(), **TEXTS, labels=LABELS)
    assert write_metadata(build(), **TEXTS, labels=LABELS) == once
    assert write_metadata(once, **TEXTS, labels=LABELS) == once


def test_writing_again_replaces_what_was_there() -> None:
    first = write_metadata(build(), **{**TEXTS, "name": "Other"}, labels=["a", "b", "c"])
    assert write_metadata(first, **TEXTS, labels=LABELS) == write_metadata(build(), **TEXTS, labels=LABELS)


def test_labels_file_is_stored_with_a_fixed_date() -> None:
    made = write_metadata(build(), **TEXTS, labels=LABELS)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        (info,) = archive.infolist()
        assert archive.read(info) == b"daisy\nrose\ntulip\n"
    assert (info.filename, info.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
    assert info.date_time == (1980, 1, 1, 0, 0, 0)
    assert made[info.header_offset :].startswith(b"PK")


def test_no_metadata_reads_as_empty() -> None:
    assert read_metadata(build()) == {}
    assert read_metadata(build(entries={"min_runtime_version": b"1.5.0"})) == {}


def foreign(names: dict[str, int], packed: dict[str, str]) -> bytes:
    """Build a model whose metadata names these output files by type, with these files packed."""
    builder = flatbuffers.Builder(256)
    files = []
    for name, kind in names.items():
        text = builder.CreateString(name)
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(0, text, 0)
        builder.PrependInt8Slot(2, kind, 0)
        files.append(builder.EndObject())
    for field in (6, 3, 3):  # output tensor, subgraph, model
        builder.StartVector(4, len(files), 4)
        for file in reversed(files):
            builder.PrependUOffsetTRelative(file)
        vector = builder.EndVector()
        builder.StartObject(8)
        builder.PrependUOffsetTRelativeSlot(field, vector, 0)
        files = [builder.EndObject()]
    builder.Finish(files[0], b"M001")
    stream = io.BytesIO(build(entries={"TFLITE_METADATA": bytes(builder.Output())}))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in packed.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("names", "packed", "labels"),
    [
        ({"notes": 1, "classes": 2, "labels.txt": 0}, {"classes": "a\r\nb"}, ["a", "b"]),
        ({"notes": 1, "labelmap.txt": 3}, {"labelmap.txt": "a\nb\n"}, ["a", "b"]),
        ({}, {"labels.txt": "a\n"}, ["a"]),
        ({}, {"other.txt": "a\n"}, None),
        ({}, {"labels.txt": ""}, []),
    ],
)
def test_labels_of_files_made_elsewhere(
    names: dict[str, int], packed: dict[str, str], labels: list[str] | None
) -> None:
    model = foreign(names, packed)
    assert read_metadata(model)["labels"] == labels
    made = write_metadata(model, **TEXTS, labels=LABELS)
    assert read_metadata(made)["labels"] == LABELS
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.namelist() == ["labels.txt"]


def test_a_named_labels_file_that_is_missing() -> None:
    with pytest.raises(ArtifactError, match=r"labels file 'classes'"):
        read_metadata(foreign({"classes": 2}, {"other": ""}))


def test_damaged_metadata() -> None:
    made = write_metadata(build(), **TEXTS, labels=LABELS)
    metadata = metadata_of(made)["TFLITE_METADATA"]
    for size in range(len(metadata)):
        try:
            read_metadata(build(entries={"TFLITE_METADATA": metadata[:size]}))
        except ArtifactError as error:
            assert "TFLite" in str(error)
        else:
            raise AssertionError(f"metadata cut to {size} bytes was read")


def test_damaged_labels_file() -> None:
    made = write_metadata(build(), **TEXTS, labels=LABELS)
    with pytest.raises(ArtifactError, match=r"labels file 'labels.txt' at byte \d+ does not unpack"):
        read_metadata(made.replace(b"daisy\nrose", b"daisy\nRose"))
    with pytest.raises(ArtifactError, match="not UTF-8"):
        read_metadata(made.replace(b"Flowers", b"Flo\xffers"))


def test_no_cut_and_no_flipped_byte_goes_beyond_artifact_error() -> None:
    made = write_metadata(build(), **TEXTS, labels=LABELS)
    for size in range(0, len(made) - 1, 7):
        with pytest.raises(ArtifactError):
            read_metadata(made[:size])
    for at in range(0, len(made), 3):
        broken = bytearray(made)
        broken[at] ^= 0xFF
        for call in (read_metadata, lambda m: write_metadata(m, **TEXTS, labels=LABELS)):
            try:
                call(bytes(broken))
            except ArtifactError:
                continue


def test_what_is_refused_before_writing() -> None:
    with pytest.raises(ArtifactError, match="not a TFLite model"):
        write_metadata(b"PK\3\4 something else", **TEXTS, labels=LABELS)
    with pytest.raises(ArtifactError, match="not 1 inputs and 2 outputs"):
        write_metadata(build(outputs=2), **TEXTS, labels=LABELS)
    for labels in ([], LABELS[:2]):
        with pytest.raises(ArtifactError, match=rf"{len(labels)} labels for .* \[1, 3\]"):
            write_metadata(build(), **TEXTS, labels=labels)
    with pytest.raises(ArtifactError, match=r"label 1 .* line break"):
        write_metadata(build(), **TEXTS, labels=["a", "b\nc", "d"])
    with pytest.raises(ArtifactError, match="UTF-8"):
        write_metadata(build(), **{**TEXTS, "name": "\ud800"}, labels=LABELS)


# What `tledge inspect` shows


def shown(cli: Callable[..., Done], model: bytes, folder: Path) -> dict[str, list[str]]:
    """Return the lines of `tledge inspect` by name."""
    (folder / "net.tflite").write_bytes(model)
    done = cli("inspect", folder / "net.tflite")
    assert done.code == 0, done.err
    found: dict[str, list[str]] = {}
    for name, *value in (line.split(maxsplit=1) for line in done.out.splitlines()):
        found.setdefault(name, []).append("".join(value).strip())
    return found


def test_inspect_shows_all_metadata(cli: Callable[..., Done], tmp_path: Path) -> None:
    found = shown(cli, write_metadata(build(), **TEXTS, labels=LABELS), tmp_path)
    for name, value in {
        "inputs.name": "x",
        "inputs.dtype": "float32",
        "inputs.shape": "1, 4",
        "outputs.scale": "0.0",
        "operators": "FULLY_CONNECTED",
        "labels": "daisy, rose, tulip",
        "metadata.name": "Flowers",
        "metadata.description": "Three flowers.",
        "metadata.version": "2",
        "metadata.input.content": "image",
        "metadata.input.mean": "0.0",
        "metadata.input.std": "1.0",
        "metadata.output.description": "Probability of each class.",
        "metadata.output.files": "labels.txt",
    }.items():
        assert found[name] == [value]


def test_inspect_shows_scale_and_zero_point(cli: Callable[..., Done], tmp_path: Path) -> None:
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(build()))
    made = root.subgraphs[0].tensors[0]
    made.type = schema.TensorType.INT8
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale, made.quantization.zeroPoint = [0.5], [-3]
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), b"TFL3")
    found = shown(cli, bytes(builder.Output()), tmp_path)
    assert (found["inputs.dtype"], found["inputs.scale"]) == (["int8"], ["0.5"])
    assert found["inputs.zero_point"] == ["-3"]


def test_inspect_of_a_file_without_metadata(cli: Callable[..., Done], tmp_path: Path) -> None:
    found = shown(cli, build(), tmp_path)
    assert found["format"] == ["tflite"] and found["outputs.shape"] == ["1, 3"]
    assert not [name for name in found if name.startswith(("metadata", "labels"))]
