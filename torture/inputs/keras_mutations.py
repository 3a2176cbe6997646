"""Keras files changed by structure: configurations, weights, and code that ought not to run."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

from torture.inputs.model_mutations import NUMBERS, Change

MARK = "/nonexistent/ran.txt"
"""What code that ought not to run would write."""


_remaining_kinds: list[str] = []
"""Kinds that are still to come before any comes again: each is tried however few files there are."""


def mutate(model: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change a Keras file's configuration or weights, kind after kind in rounds."""
    if not _remaining_kinds:
        _remaining_kinds.extend(sorted(MUTATIONS))
    with zipfile.ZipFile(io.BytesIO(model)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    name = _remaining_kinds.pop()
    MUTATIONS[name](parts, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed_model:
        for part_name, data in parts.items():
            packed_model.writestr(part_name, data)
    return name, out.getvalue()


def _config(edit: Change) -> Change:
    """Build a change of the configuration from a change of one layer."""

    def change(parts: dict[str, bytes], rng: random.Random) -> None:
        raw = json.loads(parts["config.json"])
        layers = [layer for layer in raw["config"]["layers"] if layer["class_name"] != "InputLayer"]
        edit(rng.choice(layers), rng)
        parts["config.json"] = json.dumps(raw).encode()

    return change


def _layer_facts(**facts: Any) -> Change:
    return _config(lambda layer, rng: layer.update(facts))


def _lambda(layer: Any, rng: random.Random) -> None:
    """Insert Python code, as Keras itself would have saved it."""
    import base64
    import marshal

    scope: dict[str, Any] = {}
    exec(f"def f(x):\n    open({MARK!r}, 'a').write('Lambda ran')\n    return x", scope)
    code = base64.b64encode(marshal.dumps(scope["f"].__code__)).decode()
    function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    layer.update(module="keras.layers", class_name="Lambda", registered_name=None)
    layer["config"] = {
        "name": layer["config"].get("name", "x"),
        "trainable": True,
        "dtype": "float32",
        "function": function,
    }


FUNCTIONS = (
    ("os", "system"),
    ("subprocess", "call"),
    ("builtins", "exec"),
    ("posix", "system"),
    ("keras.src.utils.file_utils", "get_file"),
    ("builtins", "eval"),
)


def _command(layer: Any, rng: random.Random) -> None:
    """Put a function of another module in the place of an activation, an initializer or the layer."""
    module, name = rng.choice(FUNCTIONS)
    function = {"module": module, "class_name": name, "config": f"touch {MARK}", "registered_name": name}
    if rng.random() < 0.5:
        names = [
            name
            for name in ("activation", "kernel_initializer", "beta_initializer")
            if name in layer["config"]
        ]
        layer["config"][rng.choice(names or ["dtype"])] = function
    else:
        layer.update(function, config={"command": f"touch {MARK}"})


def _function(layer: Any, rng: random.Random) -> None:
    names = [
        name for name in ("activation", "kernel_initializer", "beta_initializer") if name in layer["config"]
    ]
    layer["config"][rng.choice(names or ["dtype"])] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    }


def _saved_model(layer: Any, rng: random.Random) -> None:
    """Replace a layer by one that would load a program from elsewhere."""
    layer.update(module="keras.layers", class_name="TFSMLayer", registered_name=None)
    layer["config"] = {
        "name": layer["config"].get("name", "x"),
        "filepath": "/tmp/elsewhere",
        "call_endpoint": "serve",
    }


def _layer_value(layer: Any, rng: random.Random) -> None:
    names = sorted(layer["config"])
    layer["config"][rng.choice(names)] = rng.choice(
        (*NUMBERS, "text", None, [], {}, float("nan"), "\x1b[2J", "../x")
    )


def _filters(layer: Any, rng: random.Random) -> None:
    for name in ("filters", "units", "kernel_size", "strides"):
        if name in layer["config"]:
            layer["config"][name] = rng.choice((0, -1, 10**6, 10**9, 2**62))


def _text(data: bytes) -> Change:
    return lambda parts, rng: parts.update({"config.json": data})


def _weights(edit: Change) -> Change:
    """Build a change of the weights' HDF5 file."""

    def change(parts: dict[str, bytes], rng: random.Random) -> None:
        import h5py

        stream = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            edit(file, rng)
        parts["model.weights.h5"] = stream.getvalue()

    return change


def _dataset(file: Any, rng: random.Random) -> str:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, entry: names.append(name) if isinstance(entry, h5py.Dataset) else None)
    return rng.choice(names)


def _outside_link(file: Any, rng: random.Random) -> None:
    import h5py

    name = _dataset(file, rng)
    del file[name]
    file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "../other.h5", "/dev/zero")), "/x")


def _outside_storage(file: Any, rng: random.Random) -> None:
    """Put bytes of another file in the place of weights."""
    name = _dataset(file, rng)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, 1 << 20)])


def _outside_mapping(file: Any, rng: random.Random) -> None:
    import h5py

    name = _dataset(file, rng)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset(name, layout)


def _other_shape(file: Any, rng: random.Random) -> None:
    name = _dataset(file, rng)
    del file[name]
    file.create_dataset(name, rng.choice(((), (1,), (0,), (10**9, 10**3))), "f4", fillvalue=0.0, chunks=None)


def _other_type(file: Any, rng: random.Random) -> None:
    name = _dataset(file, rng)
    del file[name]
    file[name] = rng.choice((b"pickled?", "text", [1, 2, 3]))


def _self_link(file: Any, rng: random.Random) -> None:
    import h5py

    name = _dataset(file, rng)
    del file[name]
    file[name] = h5py.SoftLink("/" + name)


def _escaping_part(parts: dict[str, bytes], rng: random.Random) -> None:
    parts[
        rng.choice(("assets/../../../escaped.txt", "/tmp/tledge-torture-escaped.txt", "../escaped.txt"))
    ] = b"harm"


MUTATIONS: dict[str, Change] = {
    "Lambda": _config(_lambda),
    "another module": _config(_command),
    "another function": _config(_function),
    "SavedModel": _config(_saved_model),
    "a value": _config(_layer_value),
    "sizes": _config(_filters),
    "unknown class": _layer_facts(class_name="NoSuchLayer"),
    "registered": _layer_facts(registered_name="mine>Own", module=None),
    "deep": _text(b"[" * 100_000),
    "deep objects": _text(b'{"a":' * 100_000),
    "no config": _text(b"{}"),
    "huge config": _text(b'{"a": "' + b"x" * 50_000_000 + b'"}'),
    "links": _weights(_outside_link),
    "outside storage": _weights(_outside_storage),
    "outside mapping": _weights(_outside_mapping),
    "another shape": _weights(_other_shape),
    "another type": _weights(_other_type),
    "circle": _weights(_self_link),
    "slip": _escaping_part,
    "metadata": lambda parts, rng: parts.update(
        {"metadata.json": rng.choice((b"", b"[", b'{"keras_version": 3}'))}
    ),
    "no weights": lambda parts, rng: parts.pop("model.weights.h5"),  # type: ignore[func-returns-value]
    "weights cut": lambda parts, rng: parts.update({"model.weights.h5": parts["model.weights.h5"][:-5000]}),
    "pickle": lambda parts, rng: parts.update({"model.weights.h5": b"\x80\x04\x95cposix\nsystem\n."}),
}
