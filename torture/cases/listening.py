"""What commands listen on: nothing, apart from the preview and a training on several hosts, where asked."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from torture.support import background, process_signals
from torture.support.case import Case
from torture.support.command_checks import observe
from torture.support.listening import listening_addresses
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import Workspace


@contextmanager
def _watched(mark: str) -> Iterator[set[str]]:
    """Collect the addresses on which marked processes listen while a block runs."""
    seen = set[str]()

    def watch(ended: threading.Event) -> None:
        while not ended.is_set():
            seen.update(listening_addresses(mark))
            time.sleep(0.05)

    with background.working(watch):
        yield seen


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def commands_that_listen(workspace: Workspace) -> Observation:
    """Watch every command that takes long: none has a reason to listen."""
    folder, run = workspace.folder("listening"), workspace.own_run("listening-run")
    recipe = workspace.recipe(folder, train=120, epochs=1)
    commands: tuple[tuple[object, ...], ...] = (
        ("predict", run, run / "golden" / "00.jpg"), ("verify", run / "bundle", "--quiet"),
        ("data", recipe, "--quiet"), ("train", recipe, "--out", folder / "run", "--quiet"),
        ("export", run, "--quiet"), ("bench", run, "--variant", "tflite-fp32", "--threads", "1", "--quiet"),
        ("compare", run, run, "--quiet"), ("doctor",),
    )  # fmt: skip
    mark, results = f"listening-{os.getpid()}", []
    with _watched(mark) as seen:
        for command in commands[: workspace.count(len(commands), 2)]:
            results.append(workspace.tledge(*command, cwd=folder, env={process_signals.MARK: mark}))
    shortfalls = [f"{result.tail}" for result in results if result.code]
    shortfalls += [f"something listens on {address}" for address in sorted(seen)]
    return observe(results, f"{len(results)} commands listened on nothing", shortfalls)


def coordinator_where_asked(workspace: Workspace) -> Observation:
    """Train in two processes whose coordinator is asked to be on 127.0.0.1: nothing else listens."""
    if importlib.util.find_spec("jax") is None:
        raise CannotRun("training in two processes needs JAX: pip install jax")
    folder, address = workspace.folder("coordinator"), f"127.0.0.1:{_free_port()}"
    recipe = workspace.recipe(folder, train=120, epochs=1)
    mark = f"coordinator-{os.getpid()}"
    env = {process_signals.MARK: mark, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    workspace.run_successfully("data", recipe, "--quiet", cwd=folder)
    train = ("train", recipe, "--out", folder / "run", "--quiet", "--coordinator", address, "--processes", 2)
    with _watched(mark) as seen, ThreadPoolExecutor(2) as pool:
        ends = [
            pool.submit(workspace.tledge, *train, "--process", number, cwd=folder, env=env, timeout=600)
            for number in range(2)
        ]
        results = [end.result() for end in ends]
    shortfalls = [result.tail for result in results if result.code]
    shortfalls += [f"listens on {place}" for place in sorted(seen) if not place.startswith("127.")]
    shortfalls += [] if address in seen else [f"nothing was seen to listen on {address}"]
    return observe(results, f"on 127.0.0.1 alone: {len(seen)} ports, {address} among them", shortfalls)


CASES: tuple[Case, ...] = (
    Case("commands", "none listens on any port", commands_that_listen),
    Case(
        "coordinator of several hosts",
        "listens on the address of --coordinator alone",
        coordinator_where_asked,
        reduced=False,
    ),
)
