"""Training on several hosts: one process on each, which share every batch and keep equal weights.

Built on JAX' distributed runtime and `keras.distribution.DataParallel`. Only the network that is
being trained is spread over all devices: `replicated` makes a twin for that and puts its weights
back. All else (scoring, frozen layers, files) stays a process' own affair, without talk.

A process that is lost takes the others with it. They notice by the broken connection or, where
that stays silent, by missing heartbeats; either way they end with exit code 1 and say so.
"""

from __future__ import annotations

import hashlib
import re
import shutil
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
"""How long the first process waits for the last one to be started."""

HEARTBEAT_SECONDS = 30
"""A process that was silent for as long counts as lost (JAX' own default is 100)."""

SHUTDOWN_SECONDS = 60
CHUNK = 1 << 25
"""Bytes of a file that are sent at once."""

LOST = (
    "another process of this run was lost (killed, out of memory, or its host or network is gone). See what "
    "it said itself; then start all processes again with --resume: process 0 has the last whole epoch."
)
SIGNS = re.compile(
    r"gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|heartbeat|coordination service|"
    r"connection (reset|closed|refused)|socket closed",
    re.IGNORECASE,
)
"""What JAX' errors say when it is another process that failed."""


@dataclass(frozen=True)
class Hosts:
    """`processes` in all, of which this is number `process`; number 0 listens at `coordinator`.

    Raises RecipeError where these cannot be.
    """

    coordinator: str = ""
    processes: int = 1
    process: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.process < self.processes:
            raise RecipeError(
                f"--process {self.process} of --processes {self.processes}: "
                "processes count from 0 to one less than there are."
            )
        if not self.is_alone and not _is_address(self.coordinator):
            raise RecipeError(
                f"--coordinator {self.coordinator!r}: expected HOST:PORT of process 0, such as gpu-1:8476."
            )

    @property
    def is_alone(self) -> bool:
        """True where there is one process and nothing to share."""
        return self.processes == 1

    @property
    def writes(self) -> bool:
        """True in the one process that writes the run folder and scores the result."""
        return self.process == 0


ALONE = Hosts()
_HELD: list[ExitStack] = []


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal() and 0 < int(port) < 65536)


@contextmanager
def joined(hosts: Hosts) -> Iterator[Path]:
    """Connect with the other processes for a block; must come before JAX computes anything.

    Gives a temporary folder for what a process that does not write the run folder must write.

    Raises RecipeError where Keras does not run on JAX, RunError where the others do not come or
    where one is lost. What native code has to say about either is kept off the terminal.
    """
    if hosts.is_alone:
        with _scratch() as folder:
            yield folder
        return
    keras = optional_imports.load("keras", "jax")
    if keras.backend.backend() != "jax":
        raise RecipeError(
            f"several hosts train on JAX alone, and Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=jax."
        )
    with _scratch() as folder, ExitStack() as shielded:
        shielded.enter_context(native_output.native_output_closed())
        why = [_not_reached(hosts, "in time")]
        shielded.enter_context(native_output.exit_message_on_abort(_last_words(folder, why)))
        try:
            _start(hosts)
            why[0] = LOST
            yield folder
        except Exception as error:  # JAX has no class for it: ValueError and RuntimeError both occur
            if isinstance(error, TledgeError) or not SIGNS.search(str(error)):
                raise
            raise RunError(LOST) from error
        finally:
            if is_joined():  # after an error: JAX may abort at any moment until this process ends
                _HELD.append(shielded.pop_all())


def is_joined() -> bool:
    """True while other processes would be waited for at the end of this one."""
    jax = sys.modules.get("jax")
    return jax is not None and bool(jax.distributed.is_initialized())


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tledge-process-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _start(hosts: Hosts) -> None:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        # Not keras.distribution.initialize, which has no say in how soon a lost process is noticed.
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.processes,
            hosts.process,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except RuntimeError as error:
        raise RunError(_not_reached(hosts, str(error).splitlines()[0])) from error
    if jax.device_count() != hosts.processes * jax.local_device_count():
        raise RunError(
            f"process {hosts.process} has {jax.local_device_count()} of {jax.device_count()} devices; "
            "every process needs as many. Hide some with CUDA_VISIBLE_DEVICES."
        )


def _not_reached(hosts: Hosts, reason: str) -> str:
    return (
        f"process {hosts.process} did not meet the others at {hosts.coordinator} ({reason}). Start all "
        f"{hosts.processes} processes within {JOIN_SECONDS} s, with the same --coordinator and --processes, "
        "where that port is free and can be reached."
    )


def _last_words(folder: Path, why: Sequence[str]) -> Callable[[], str]:
    """What to do and to say where JAX' runtime aborts the process, as for want of heartbeats.

    It cannot be told to do otherwise: the callback for missed heartbeats fails on its argument.
    """

    def words() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        return why[0]

    return words


def require_batches(hosts: Hosts, stages: Sequence[Stage]) -> None:
    """Raise RecipeError for a batch that the devices of all processes cannot share alike."""
    if hosts.is_alone:
        return
    there = devices()
    for stage in stages:
        if over := stage.batch_size % there:
            less = stage.batch_size - over
            near = " or ".join(str(size) for size in (less, less + there) if size)
            raise RecipeError(
                f"[[stage]] {stage.name}: batch_size = {stage.batch_size} cannot be shared by {there} "
                f"devices alike; the nearest that can: {near}."
            )


def devices() -> int:
    """Devices of all processes together."""
    import jax

    return int(jax.device_count())


@contextmanager
def replicated(hosts: Hosts, net: Any) -> Iterator[Any]:
    """The network to train in a block: itself, or a twin on all devices that gives its weights back."""
    if hosts.is_alone:
        yield net
        return
    import keras

    weights = net.get_weights()
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        twin = type(net).from_config(net.get_config())
        twin.set_weights(weights)
        yield twin
        weights = twin.get_weights()
    net.set_weights(weights)


def agreed(hosts: Hosts, answer: bool) -> bool:
    """Whether all processes say yes; all must ask."""
    if hosts.is_alone:
        return answer
    import numpy as np

    return bool(_gathered(np.array([answer])).all())


def _gathered(values: NDArray[Any]) -> NDArray[Any]:
    """The values [...] of every process: [processes, ...]."""
    import numpy as np
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def copy_from_first(hosts: Hosts, path: Path) -> None:
    """Write process 0's file at its `path` to that of every other; nothing where it has none."""
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
    """Raise RunError, saying that some have `what`, where `data` is not the same in all processes."""
    if hosts.is_alone:
        return
    import numpy as np

    found = _gathered(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
    other = [str(number) for number, one in enumerate(found) if not np.array_equal(one, found[0])]
    if other:
        raise RunError(
            f"process {' and '.join(other)} has {what} than process 0. "
            "Give all processes the same tledge, recipe and photos (tledge data --pack makes a copy)."
        )


def leave(hosts: Hosts, net: Any) -> None:
    """Part from the others, all at once; what one does after this is its own affair.

    Raises RunError where the weights of `net` are not the same in all processes.
    """
    if hosts.is_alone:
        return
    import jax

    require_same(hosts, b"".join(one.tobytes() for one in net.get_weights()), "other weights in the end")
    jax.distributed.shutdown()
