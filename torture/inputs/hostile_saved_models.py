"""Write SavedModels that look like image modules and write a file as soon as TensorFlow loads them, or may.

`python -m torture.inputs.hostile_saved_models FOLDER [KIND...]` makes a folder for each, of all `KINDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

SIDE = 32

CANARY = "canary.txt"
"""Written beside the SavedModels by those that run: the harm."""

KINDS = {
    "initializer": "a resource whose initializer writes a file",
    "restore": "an object whose restoring writes a file",
    "table": "a table that is filled from a file that comes along",
    "TensorFlow 1": "a graph with an initial operator that writes a file",
    "writes": "a network that writes a file",
    "reads": "a network that maps a file into its features",
    "python": "a network that calls Python",
    "saver": "a network that reads another file of weights",
    "calls": "a network of functions that call each other 2^40 times",
}
"""What is written, and what it holds."""


def write(folder: Path, kinds: Iterable[str]) -> None:
    """Write SavedModels of some kinds below a folder."""
    for kind in kinds:
        _write(kind, folder / kind, folder / CANARY)


def _write(kind: str, out: Path, canary: Path) -> None:
    import tensorflow as tf

    if kind == "TensorFlow 1":
        _write_first_version(out, canary)
        return
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones((3, 4)), name="kernel")
    module.harm = {"initializer": _resource, "restore": _restored, "table": _table}.get(kind, _nothing)(
        canary
    )
    module.__call__ = tf.function(
        lambda image: tf.matmul(_harmed(kind, tf.reduce_mean(image, (1, 2)), canary), module.kernel),
        input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3))],
    )
    tf.saved_model.save(module, str(out))
    if kind == "calls":
        _multiply_calls(out / "saved_model.pb")


def _harmed(kind: str, features: Any, canary: Path) -> Any:
    """Put features through what a kind of module does when it is called."""
    import numpy as np
    import tensorflow as tf

    if kind == "writes":
        tf.io.write_file(str(canary), "written")
    if kind == "reads":
        mapped = tf.raw_ops.ImmutableConst(
            dtype=tf.float32, shape=(3,), memory_region_name="/proc/self/environ"
        )
        return features + mapped
    if kind == "python":
        return tf.ensure_shape(tf.numpy_function(np.negative, [features], tf.float32), (None, 3))
    if kind == "saver":
        (other,) = tf.raw_ops.RestoreV2(
            prefix=str(canary), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        return features + tf.reshape(other, (1, 3))
    if kind == "calls":
        return tf.function(lambda value: value * 2.0 + 1.0)(features)
    return features


def _nothing(_canary: Path) -> None:
    return None


def _resource(canary: Path) -> Any:
    """Return a resource that TensorFlow initializes when it loads it."""
    import tensorflow as tf

    class Resource(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc, name-defined]
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.io.write_file(str(canary), "written")

    made = Resource()
    _ = made.resource_handle
    canary.unlink(missing_ok=True)
    return made


def _restored(canary: Path) -> Any:
    """Return an object whose value TensorFlow restores with a function of the SavedModel."""
    import tensorflow as tf
    from tensorflow.python.trackable.resource import TrackableResource

    class Restored(TrackableResource):  # type: ignore[misc]
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

        def _initialize(self) -> None:
            return None

        def _serialize_to_tensors(self) -> Any:
            return {"value": tf.zeros(1)}

        def _restore_from_tensors(self, restored: Any) -> Any:
            return tf.io.write_file(str(canary), tf.strings.as_string(restored["value"][0]))

    made = Restored()
    _ = made.resource_handle
    return made


def _table(canary: Path) -> Any:
    import tensorflow as tf

    words = canary.with_name("words.txt")
    words.write_text("one\ntwo\n", encoding="utf-8")
    whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    filled = tf.lookup.TextFileInitializer(str(words), tf.string, whole, tf.int64, number)
    return tf.lookup.StaticHashTable(filled, -1)


def _write_first_version(out: Path, canary: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, (None, SIDE, SIDE, 3), "image")
        kernel = v1.get_variable("kernel", (3, 4))
        features = tf.matmul(tf.reduce_mean(image, (1, 2)), kernel)
        harm = tf.raw_ops.WriteFile(filename=str(canary), contents="written")
        session.run(kernel.initializer)
        builder = v1.saved_model.Builder(str(out))
        signature = v1.saved_model.predict_signature_def({"image": image}, {"features": features})
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}, main_op=harm
        )
        builder.save()


def _multiply_calls(path: Path) -> None:
    """Let forty functions each call the next one twice."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString(path.read_bytes())
    library = saved.meta_graphs[0].graph_def.library
    inner = next(item for item in library.function if any(node.op == "Mul" for node in item.node_def))
    chain = [inner.signature.name, *(f"{inner.signature.name}_{level}" for level in range(40))]
    caller = next(item for item in library.function if _calls(item, inner.signature.name))
    (call,) = [node for node in caller.node_def if "Call" in node.op]
    for callee, name in pairwise(chain):
        function = library.function.add()
        function.CopyFrom(inner)
        function.signature.name = name
        del function.node_def[:]
        source, last = inner.signature.input_arg[0].name, ""
        for half in ("a", "b"):
            node = function.node_def.add()
            node.CopyFrom(call)
            node.name = half
            node.input[:] = [last or source]
            node.attr["f"].func.name = callee
            last = f"{half}:output:0"
        for output in inner.signature.output_arg:
            function.ret[output.name] = last
    call.attr["f"].func.name = chain[-1]
    path.write_bytes(saved.SerializeToString())


def _calls(function: Any, name: str) -> bool:
    return any(node.attr["f"].func.name == name for node in function.node_def if "f" in node.attr)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:] or KINDS)
