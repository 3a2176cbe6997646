"""Train on several hosts: one process on each, which share every batch and keep equal weights.

Built on JAX' distributed runtime and `keras.distribution.DataParallel`. Only the network that is
being trained is spread over all devices: `replicated` makes a copy for that and puts its weights
back. Everything else (scoring, frozen layers, files) runs in each process independently, without
communication.

Where a process is lost, the others end too, with exit code 1 and a message. They notice the broken
connection or, where it stays open, missing heartbeats.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process import native_output, optional_imports
from tledge.config import Stage
from tledge.errors import RecipeError, RunError, TledgeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

JOIN_SECONDS = 300
"""Seconds that the first process waits until the last one is started."""

HEARTBEAT_SECONDS = 30
"""Seconds without a message after which a process counts as lost (JAX' default is 100)."""

SHUTDOWN_SECONDS = 60
CHUNK = 1 << 25
"""Bytes of a file that are sent at once."""

LOST = (
    "another process of this run was lost (killed, out of memory, or its host or network is gone). See its "
    "own output; then start all processes again with --resume: process 0 has the last complete epoch."
)
SIGNS = re.compile(
    r"gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|heartbeat|coordination service|"
    r"connection (reset|closed|refused)|socket closed",
    re.IGNORECASE,
)
"""Words in JAX' errors where another process failed."""


@dataclass(frozen=True)
class Hosts:
    """The processes that train together; this is number `process`, and number 0 listens at `coordinator`.

    Raises:
        RecipeError: There is no such process, or the coordinator is not HOST:PORT.
    """

    coordinator: str = ""
    processes: int = 1
    process: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.process < self.processes:
            raise RecipeError(
                f"--process {self.process} of --processes {self.processes}: "
                "expected --process from 0 to --processes minus 1."
            )
        if not self.is_alone and not _is_address(self.coordinator):
            raise RecipeError(
                f"--coordinator {self.coordinator!r}: expected HOST:PORT of process 0, such as gpu-1:8476."
            )

    @property
    def is_alone(self) -> bool:
        """Whether there is only one process, and nothing to share."""
        return self.processes == 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes the run folder and scores the result."""
        return self.process == 0


ALONE = Hosts()
_HELD: list[ExitStack] = []


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal() and 0 < int(port) < 65536)


@contextmanager
def joined(hosts: Hosts) -> Iterator[Path]:
    """Connect with the other processes for a block; call it before JAX computes anything.

    Native code's own messages about lost connections are kept off the terminal.

    Args:
        hosts: The processes that train together; with one process nothing is connected.

    Yields:
        A temporary folder, for the files of a process that does not write the run folder.

    Raises:
        RecipeError: Keras does not run on JAX.
        RunError: The other processes do not connect in time, or one is lost.
    """
    if hosts.is_alone:
        with _temporary_folder() as folder:
            yield folder
        return
    keras = optional_imports.load("keras", "jax")
    if keras.backend.backend() != "jax":
        raise RecipeError(
            f"several hosts can only train on JAX, and Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=jax."
        )
    with _temporary_folder() as folder, ExitStack() as shielded:
        shielded.enter_context(native_output.native_output_closed())
        message = [_not_reached(hosts, "in time")]
        shielded.enter_context(native_output.exit_message_on_abort(_exit_message(folder, message)))
        try:
            _start(hosts)
            message[0] = LOST
            yield folder
        except Exception as error:  # JAX raises ValueError as well as RuntimeError
            if isinstance(error, TledgeError) or not SIGNS.search(str(error)):
                raise
            raise RunError(LOST) from error
        finally:
            if is_joined():  # after an error JAX may abort at any moment until this process ends
                _HELD.append(shielded.pop_all())


def is_joined() -> bool:
    """Return whether this process would wait for others at its end."""
    jax = sys.modules.get("jax")
    return jax is not None and bool(jax.distributed.is_initialized())


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tledge-process-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _start(hosts: Hosts) -> None:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        # Not keras.distribution.initialize: it cannot set how soon a lost process is noticed.
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.processes,
            hosts.process,
            coordinator_bind_address=listening_address(hosts.coordinator),
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except RuntimeError as error:
        raise RunError(_not_reached(hosts, str(error).splitlines()[0])) from error
    if jax.device_count() != hosts.processes * jax.local_device_count():
        raise RunError(
            f"process {hosts.process} has {jax.local_device_count()} of {jax.device_count()} devices; "
            "all processes need the same number. Hide some with CUDA_VISIBLE_DEVICES."
        )


def listening_address(coordinator: str) -> str | None:
    """Return the address that process 0 listens on: that of `coordinator` alone, where this host has it.

    None where this host cannot tell: the name is that of another host (a proxy, the host of a container), or
    its own name, which many systems resolve to themselves. JAX then listens on all addresses of this host.
    """
    if "JAX_COORDINATOR_BIND_ADDRESS" in os.environ:
        return None
    host, _colon, port = coordinator.rpartition(":")
    name = host.strip("[]")
    try:
        places = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return None
    for family, _type, _protocol, _canonical, (address, *_rest) in places:
        is_own = name in (address, "localhost") or not ipaddress.ip_address(address).is_loopback
        if is_own and _can_bind(family, str(address)):
            return f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
    return None


def _can_bind(family: int, address: str) -> bool:
    try:
        with socket.socket(family) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True


def _not_reached(hosts: Hosts, reason: str) -> str:
    return (
        f"process {hosts.process} did not reach the others at {hosts.coordinator} ({reason}). Start all "
        f"{hosts.processes} processes within {JOIN_SECONDS} s, with the same --coordinator and --processes, "
        "where that port is free and reachable."
    )


def _exit_message(folder: Path, message: Sequence[str]) -> Callable[[], str]:
    """Return what to call where JAX' runtime aborts the process, as it does when heartbeats are missing.

    The abort cannot be avoided: JAX' callback for missed heartbeats fails on its argument.
    """

    def clean_up_and_explain() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        return message[0]

    return clean_up_and_explain


def require_batches(hosts: Hosts, stages: Sequence[Stage]) -> None:
    """Raise RecipeError for a batch that the devices of all processes cannot share equally."""
    if hosts.is_alone:
        return
    count = devices()
    for stage in stages:
        if remainder := stage.batch_size % count:
            smaller = stage.batch_size - remainder
            nearest = " or ".join(str(size) for size in (smaller, smaller + count) if size)
            raise RecipeError(
                f"[[stage]] {stage.name}: batch_size = {stage.batch_size} cannot be shared equally by "
                f"{count} devices. Set batch_size to {nearest}."
            )


def devices() -> int:
    """Count the devices of all processes together."""
    import jax

    return int(jax.device_count())


@contextmanager
def replicated(hosts: Hosts, net: Any) -> Iterator[Any]:
    """Yield the network to train: itself, or a copy on all devices whose weights are put back at the end."""
    if hosts.is_alone:
        yield net
        return
    import keras

    weights = net.get_weights()
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        copied = type(net).from_config(net.get_config())
        copied.set_weights(weights)
        yield copied
        weights = copied.get_weights()
    net.set_weights(weights)


def true_in_all(hosts: Hosts, value: bool) -> bool:
    """Return whether `value` is true in all processes; all must call this."""
    if hosts.is_alone:
        return value
    import numpy as np

    return bool(_gathered(np.array([value])).all())


def _gathered(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values [...] of every process: [processes, ...]."""
    import numpy as np
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def copy_from_first(hosts: Hosts, path: Path) -> None:
    """Copy process 0's file at its `path` to the `path` of every other; do nothing where it has none."""
    if hosts.is_alone:
        return
    import numpy as np
    from jax.experimental import multihost_utils

    data = path.read_bytes() if hosts.writes and path.is_file() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(data), np.uint32)))
    values = np.frombuffer(data, np.uint8) if hosts.writes else np.zeros(size, np.uint8)
    parts = [
        np.asarray(multihost_utils.broadcast_one_to_all(values[start : start + CHUNK]))
        for start in range(0, size, CHUNK)
    ]
    if parts and not hosts.writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.concatenate(parts).tobytes())


def require_same(hosts: Hosts, data: bytes, what: str) -> None:
    """Raise RunError, saying that some processes have `what`, where `data` is not the same in all."""
    if hosts.is_alone:
        return
    import numpy as np

    digests = _gathered(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
    others = [str(number) for number, digest in enumerate(digests) if not np.array_equal(digest, digests[0])]
    if others:
        raise RunError(
            f"process {' and '.join(others)} has {what} than process 0. "
            "Give all processes the same tledge, recipe and photos (tledge data --pack makes a copy)."
        )


def leave(hosts: Hosts, net: Any) -> None:
    """Shut down the process group (collective); there is no communication afterwards.

    Raises:
        RunError: The weights of `net` are not the same in all processes.
    """
    if hosts.is_alone:
        return
    import jax

    data = b"".join(values.tobytes() for values in net.get_weights())
    require_same(hosts, data, "other weights at the end")
    jax.distributed.shutdown()
