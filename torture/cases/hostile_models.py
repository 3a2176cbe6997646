"""Model files of a run that are programs: they read files, write them and send them out."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torture.inputs import hostile_graphs as graphs
from torture.support import background, processes
from torture.support.case import Case
from torture.support.observation import Observation
from torture.support.preview_server import running_server
from torture.support.workspace import Workspace

SECRET = b"KEY-OF-YOURS"
"""Twelve bytes of a file of the user's: three numbers to a graph."""

BOMB = 2 << 30
"""Bytes that the text of a graph unpacks to, which is a thousandth of it."""

PATIENCE = 150
"""Seconds that a preview may take to refuse a file."""

MEMORY = 2000.0
"""MiB that no command may take on such a file; TensorFlow itself takes some hundred."""


@dataclass
class Listener:
    """A port of this machine, and the connections that came to it."""

    port: int
    visits: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen on a port until the block ends, and note who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1])
        server.settimeout(0.2)

        def accept(finished: threading.Event) -> None:
            while not finished.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                listener.visits.append(f"{address[0]} came")
                connection.close()

        with background.working(accept):
            yield listener


def hostile_keras_files(workspace: Workspace) -> Observation:
    """Export and preview runs whose `model.keras` reads, writes, sends, or unpacks without end."""
    home = workspace.folder("hostile keras")
    (home / "secret.key").write_bytes(SECRET)
    results: list[processes.ProcessResult] = []
    faults: list[str] = []
    with listening() as listener:
        for name, content in _files(home, listener.port, workspace.reduced):
            run = workspace.own_run(f"hostile {name}")
            (run / "model.keras").write_bytes(content)
            export = workspace.tledge("export", run, "--variant", "tflite-fp32", "--quiet", timeout=240)
            results.append(export)
            faults += _export_faults(name, export, run)
            faults += [f"preview {name}: {fault}" for fault in _preview_faults(workspace, run, name)]
            faults += [] if workspace.reduced else _faults_of_others(workspace, name, run)
            faults += [f"{name}: wrote {path.name}" for path in home.iterdir() if path.name != "secret.key"]
            shutil.rmtree(run)
        faults += [f"something {visit} to the port" for visit in listener.visits]
    return Observation(
        f"{len(results)} files, each exported and previewed with a prediction: refused, nothing read or sent",
        tuple(faults),
        files=2 * len(results),
        crashes=sum(result.crashed for result in results),
        hangs=sum(result.hung for result in results),
        peak=max(result.peak for result in results),
    )


def _files(home: Path, port: int, reduced: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the files by name."""
    read, write = graphs.reading(home / "secret.key"), graphs.sending(f"file://{home}/stolen")
    yield "reads and writes", graphs.keras_file(graphs.graph_text(read, write))
    if reduced:
        return
    yield "reads", graphs.keras_file(graphs.graph_text(read))
    yield "sends", graphs.keras_file(graphs.graph_text(read, graphs.sending(f"grpc://127.0.0.1:{port}")))
    yield "runs Python", graphs.keras_file(graphs.graph_text(graphs.running_python()))
    yield "unpacks", graphs.keras_file(graphs.bomb_text(BOMB))
    yield "is wide", graphs.keras_file(graphs.graph_text(), units=2_000_000_000)


def _export_faults(name: str, export: processes.ProcessResult, run: Path) -> Iterator[str]:
    """Yield what falls short of a refusal in words, with nothing of the secret in the artifacts."""
    words = export.err.strip().splitlines()
    if export.code != 1 or export.crashed or export.hung or not words:
        yield f"export {name}: {export.tail}, expected exit 1 and a sentence"
    elif "model.keras" not in export.err:
        yield f"export {name}: does not name the file: {export.tail}"
    if export.peak > MEMORY:
        yield f"export {name}: {export.peak:.0f} MiB"
    for path in run.rglob("*"):
        if path.is_file() and path.name != "model.keras" and SECRET in path.read_bytes():
            yield f"export {name}: {path.relative_to(run)} holds the secret"


def _preview_faults(workspace: Workspace, run: Path, name: str) -> Iterator[str]:
    """Yield what falls short where a run is previewed and asked for one prediction."""
    pixels = bytes(graphs.SIDE * graphs.SIDE * 3)
    with running_server(workspace, run, f"hostile {name}") as server:
        deadline = time.monotonic() + PATIENCE
        head = server.head("/api/answers", len(pixels))
        answer = server.send(head.encode(), pixels, wait=PATIENCE, finish=False)
        if time.monotonic() > deadline:
            yield f"took more than {PATIENCE} s"
        if b"200 OK" not in answer[:20] or b"model.keras" not in answer:
            yield f"no word of the file: {answer[:15]!r} {answer[-200:]!r}"
        if server.process.poll() is not None:
            yield "the server ended"


def _faults_of_others(workspace: Workspace, name: str, run: Path) -> Iterator[str]:
    """Yield what falls short in commands that never open `model.keras`."""
    shutil.rmtree(run / "bundle", ignore_errors=True)
    photo = sorted((run / "golden").glob("*.png"))[0]
    for arguments in (("predict", run, photo), ("compare", run, workspace.run), ("inspect", run)):
        result = workspace.tledge(*arguments, timeout=120)
        codes = {"predict": (1, 2, 4), "compare": (0, 1, 2, 3, 4), "inspect": (0,)}[arguments[0]]
        if result.code not in codes or result.crashed or result.hung:
            yield f"{arguments[0]} {name}: {result.tail}, expected one of {codes}"


def operators_of_the_registry(workspace: Workspace) -> Observation:
    """Judge a graph of each operator that TensorFlow has, and of each that reaches out by its definition."""
    from tests.helpers import tensorflow_operators
    from tledge.models import graph_judgement
    from tledge.models.graph_operators import OPERATORS

    registry, reaching_out = tensorflow_operators.registry(), tensorflow_operators.reaching_out()
    passed = [name for name in registry if not graph_judgement.refusal(graphs.graph_of(name))]
    kinds = Counter(reason for reasons in reaching_out.values() for reason in reasons)
    faults = [f"{name} passes: it {', '.join(reaching_out[name])}" for name in passed if name in reaching_out]
    faults += [f"{name} passes, and is not on the list" for name in passed if name not in OPERATORS]
    faults += [f"{name} is on the list, and refused" for name in OPERATORS if name not in passed]
    counted = ", ".join(f"{reason}: {count}" for reason, count in kinds.items())
    return Observation(
        f"{len(registry)} operators: {len(registry) - len(passed)} refused, {len(reaching_out)} of them by "
        f"definition more than arithmetic ({counted})",
        tuple(faults),
        files=len(registry),
    )


CASES: tuple[Case, ...] = (
    Case(
        "Keras files that are programs",
        "export and preview refuse them in words: nothing is read, written or sent",
        hostile_keras_files,
    ),
    Case(
        "operators of TensorFlow's registry",
        "a graph holds what is on the list of arithmetic, and nothing else",
        operators_of_the_registry,
    ),
)
