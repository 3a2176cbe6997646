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


_round: list[str] = []
"""Kinds that are still to come before any comes again: each is tried however few files there are."""


def changed(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """A change of a Keras file's configuration or weights, kind after kind in rounds."""
    if not _round:
        _round.extend(sorted(KERAS))
    with zipfile.ZipFile(io.BytesIO(whole)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    name = _round.pop()
    KERAS[name](parts, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for one, data in parts.items():
            made.writestr(one, data)
    return name, out.getvalue()


def _config(edit: Change) -> Change:
    """A change of the configuration, given one of its layers."""

    def change(parts: dict[str, bytes], chance: random.Random) -> None:
        raw = json.loads(parts["config.json"])
        layers = [one for one in raw["config"]["layers"] if one["class_name"] != "InputLayer"]
        edit(chance.choice(layers), chance)
        parts["config.json"] = json.dumps(raw).encode()

    return change


def _as(**facts: Any) -> Change:
    return _config(lambda layer, chance: layer.update(facts))


def _lambda(layer: Any, chance: random.Random) -> None:
    """Python code, as Keras itself would have saved it."""
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


def _command(layer: Any, chance: random.Random) -> None:
    """A function of another module in the place of an activation, an initializer or the layer."""
    module, name = chance.choice(FUNCTIONS)
    made = {"module": module, "class_name": name, "config": f"touch {MARK}", "registered_name": name}
    if chance.random() < 0.5:
        names = [
            one for one in ("activation", "kernel_initializer", "beta_initializer") if one in layer["config"]
        ]
        layer["config"][chance.choice(names or ["dtype"])] = made
    else:
        layer.update(made, config={"command": f"touch {MARK}"})


def _function(layer: Any, chance: random.Random) -> None:
    names = [
        one for one in ("activation", "kernel_initializer", "beta_initializer") if one in layer["config"]
    ]
    layer["config"][chance.choice(names or ["dtype"])] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    }


def _saved_model(layer: Any, chance: random.Random) -> None:
    """A layer that would load a program from elsewhere."""
    layer.update(module="keras.layers", class_name="TFSMLayer", registered_name=None)
    layer["config"] = {
        "name": layer["config"].get("name", "x"),
        "filepath": "/tmp/elsewhere",
        "call_endpoint": "serve",
    }


def _layer_value(layer: Any, chance: random.Random) -> None:
    names = sorted(layer["config"])
    layer["config"][chance.choice(names)] = chance.choice(
        (*NUMBERS, "text", None, [], {}, float("nan"), "\x1b[2J", "../x")
    )


def _filters(layer: Any, chance: random.Random) -> None:
    for name in ("filters", "units", "kernel_size", "strides"):
        if name in layer["config"]:
            layer["config"][name] = chance.choice((0, -1, 10**6, 10**9, 2**62))


def _text(data: bytes) -> Change:
    return lambda parts, chance: parts.update({"config.json": data})


def _weights(edit: Change) -> Change:
    """A change of the weights' HDF5 file."""

    def change(parts: dict[str, bytes], chance: random.Random) -> None:
        import h5py

        stream = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(stream, "r+") as file:
            edit(file, chance)
        parts["model.weights.h5"] = stream.getvalue()

    return change


def _dataset(file: Any, chance: random.Random) -> str:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
    return chance.choice(names)


def _outside_link(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    del file[name]
    file[name] = h5py.ExternalLink(chance.choice(("/etc/passwd", "../other.h5", "/dev/zero")), "/x")


def _outside_storage(file: Any, chance: random.Random) -> None:
    """Bytes of another file in the place of weights."""
    name = _dataset(file, chance)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, 1 << 20)])


def _outside_mapping(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset(name, layout)


def _other_shape(file: Any, chance: random.Random) -> None:
    name = _dataset(file, chance)
    del file[name]
    file.create_dataset(
        name, chance.choice(((), (1,), (0,), (10**9, 10**3))), "f4", fillvalue=0.0, chunks=None
    )


def _other_type(file: Any, chance: random.Random) -> None:
    name = _dataset(file, chance)
    del file[name]
    file[name] = chance.choice((b"pickled?", "text", [1, 2, 3]))


def _circle(file: Any, chance: random.Random) -> None:
    import h5py

    name = _dataset(file, chance)
    del file[name]
    file[name] = h5py.SoftLink("/" + name)


def _slip(parts: dict[str, bytes], chance: random.Random) -> None:
    parts[
        chance.choice(("assets/../../../escaped.txt", "/tmp/tledge-torture-escaped.txt", "../escaped.txt"))
    ] = b"harm"


KERAS: dict[str, Change] = {
    "Lambda": _config(_lambda),
    "another module": _config(_command),
    "another function": _config(_function),
    "SavedModel": _config(_saved_model),
    "a value": _config(_layer_value),
    "sizes": _config(_filters),
    "unknown class": _as(class_name="NoSuchLayer"),
    "registered": _as(registered_name="mine>Own", module=None),
    "deep": _text(b"[" * 100_000),
    "deep objects": _text(b'{"a":' * 100_000),
    "no config": _text(b"{}"),
    "huge config": _text(b'{"a": "' + b"x" * 50_000_000 + b'"}'),
    "links": _weights(_outside_link),
    "outside storage": _weights(_outside_storage),
    "outside mapping": _weights(_outside_mapping),
    "another shape": _weights(_other_shape),
    "another type": _weights(_other_type),
    "circle": _weights(_circle),
    "slip": _slip,
    "metadata": lambda parts, chance: parts.update(
        {"metadata.json": chance.choice((b"", b"[", b'{"keras_version": 3}'))}
    ),
    "no weights": lambda parts, chance: parts.pop("model.weights.h5"),  # type: ignore[func-returns-value]
    "weights cut": lambda parts, chance: parts.update(
        {"model.weights.h5": parts["model.weights.h5"][:-5000]}
    ),
    "pickle": lambda parts, chance: parts.update({"model.weights.h5": b"\x80\x04\x95cposix\nsystem\n."}),
}
