"""Models of somebody else, to be adopted, that are programs or lead elsewhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture.inputs import hostile_graphs as graphs
from torture.support import processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.workspace import Workspace

SECRET = b"KEY-OF-YOURS"
"""Bytes of a file of the user's."""

LAMBDA: dict[str, Any] = {
    "class_name": "Sequential",
    "config": {
        "name": "mine",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 32, 32, 3], "name": "photo"}},
            {"class_name": "Lambda", "config": {"name": "code", "function": ["4wEAAAA=", None, None]}},
        ],
    },
}
"""A model with a layer of Python code."""


def hostile_models(workspace: Workspace) -> Observation:
    """Adopt files that hold code, read another file, or unpack outside of their folder."""
    home = workspace.folder("hostile adopted")
    (home / "secret.key").write_bytes(SECRET)
    given = home / "given"
    given.mkdir()
    results: list[processes.ProcessResult] = []
    faults: list[str] = []
    for name, content in _files(home):
        (given / name).write_bytes(content)
        out = home / "runs" / "mine"
        before = set(home.rglob("*"))
        arguments = ("adopt", given / name, "--photos", given, "--out", out, "--quiet")
        result = workspace.tledge(*arguments, timeout=240)
        results.append(result)
        if result.code not in (2, 4) or result.crashed or result.hung or name not in result.err:
            faults.append(f"{name}: {result.tail}, expected exit 2 or 4 and a sentence that names it")
        faults += [f"{name}: wrote {path}" for path in home.rglob("*") if path not in before]
    return Observation(
        f"{len(results)} models: refused by name, nothing read or written",
        tuple(faults),
        files=len(results),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _files(home: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files by name."""
    read, write = graphs.reading(home / "secret.key"), graphs.sending(f"file://{home}/stolen")
    yield "graph.keras", graphs.keras_file(graphs.graph_text(read, write))
    hdf5 = _hdf5(home)
    yield "code.h5", hdf5
    yield "link.h5", _hdf5(home, external=True)
    yield "converted_keras.zip", _zip({"keras_model.h5": hdf5, "labels.txt": b"0 a\n1 b\n"})
    yield "outside.zip", _zip({"../stolen/keras_model.h5": hdf5})
    yield "pickle.zip", _zip({"archive/data.pkl": b"cos\nsystem\n(S'true'\ntR."})
    yield "pickle.h5", b"\x80\x04cos\nsystem\n(S'true'\ntR."
    yield "cut.h5", hdf5[: len(hdf5) // 2]


def _hdf5(home: Path, *, external: bool = False) -> bytes:
    """Return an HDF5 file with a Lambda layer, or with weights that lie in another file."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as model:
        model.attrs["keras_version"] = "2.4.0"
        model.attrs["model_config"] = json.dumps(LAMBDA)
        weights = model.create_group("model_weights")
        if external:
            weights["dense"] = h5py.ExternalLink(str(home / "secret.key"), "/")
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


CASES: tuple[Case, ...] = (
    Case(
        "models to adopt that are programs",
        "refused by name: no code runs, nothing is read elsewhere or written",
        hostile_models,
    ),
)
