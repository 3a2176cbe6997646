"""One measurement in a process of its own: `python -m tledge.benchmark.worker JOB.json RESULT.json`.

So the peak memory is that of one artifact alone, and native code that crashes takes nothing with
it. What is measured, and how:

- **A query** is `Session.run` of one image: prepared bytes in, probabilities out, the next one sent
  when the last is answered (MLPerf's single stream). Decoding and resizing photos is not in it.
- **load_ms** is opening the session once: reading the file (from the system's file cache), building
  and preparing the graph. The runtime library itself is imported before.
- **Percentiles** are nearest-rank: the smallest measured latency that p % of all do not exceed.
- **images_per_second** is queries over the time that this same stream took: one after the other, no
  batches, so it is no more than 1000 / mean latency.
- **peak_mib** is the most memory that was resident at once, the interpreter, numpy, the runtime
  library and the images included; **model_mib** is by how much that peak grew since just before
  the session was opened: what the artifact itself took.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge._process import optional_imports, subprocesses
from tledge.errors import ArtifactError, TledgeError
from tledge.runtime import sessions
from tledge.runtime.latency import Minimum, percentiles, stream
from tledge.runtime.sessions import OnnxSession, Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RANDOM_IMAGES, SEED = 4, 0
"""Images of random bytes for a model that comes without photos; few, they count as its memory."""


@dataclass(frozen=True)
class MeasurementJob:
    """One artifact with one kind of kernels and a number of threads.

    `images` is an `.npy` of uint8[N, H, W, 3], empty for random bytes of the model's own size;
    `warm_up` goes before and does not count.
    """

    model: str
    images: str
    kernels: str
    threads: int
    warm_up: Minimum
    minimum: Minimum


@dataclass(frozen=True)
class Reading:
    """What one measurement gave; memory None where the system does not tell."""

    load_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_second: float
    queries: int
    seconds: float
    peak_mib: float | None
    model_mib: float | None


def measure(job: MeasurementJob, clock: Callable[[], int] = time.perf_counter_ns) -> Reading:
    """Load, warm up and time the job's artifact in this process; `clock` counts nanoseconds.

    Raises ArtifactError where it does not load or takes no image, MissingError without its runtime.
    """
    import numpy as np

    path = Path(job.model)
    given = np.load(job.images, allow_pickle=False) if job.images else None
    optional_imports.import_runtime(path.name)  # so that neither load time nor the artifact's memory holds it
    before = peak_mib()
    start = clock()
    session = sessions.open_session(path, job.kernels, job.threads)
    load_ms = (clock() - start) / 1e6
    images = random_images(session, path.name) if given is None else given
    stream(session, images, job.warm_up, clock)
    start = clock()
    latencies = stream(session, images, job.minimum, clock)
    seconds = (clock() - start) / 1e9
    peak = peak_mib()
    p50, p90, p99 = percentiles(latencies)
    grown = None if peak is None or before is None else round(peak - before, 2)
    rate = len(latencies) / seconds
    return Reading(load_ms, p50, p90, p99, rate, len(latencies), seconds, peak, grown)


def random_images(session: Session, name: str) -> NDArray[np.uint8]:
    """Random bytes uint8[N, H, W, 3] of the size that the model takes, always the same.

    Raises ArtifactError where it does not take one RGB image of a fixed size.
    """
    import numpy as np

    shape: Sequence[Any] = getattr(session, "input_shape", ())
    if isinstance(session, OnnxSession):
        shape = session.input.shape
    if len(shape) != 4 or shape[3] != 3 or not all(isinstance(side, int) for side in shape[1:]):
        raise ArtifactError(f"{name}: takes {list(shape)}, expected one image as [N, height, width, 3].")
    return np.random.default_rng(SEED).integers(0, 256, (RANDOM_IMAGES, *shape[1:]), np.uint8)


def peak_mib(status: Path = Path("/proc/self/status")) -> float | None:
    """The most memory that this process had resident so far, in MiB; None where nobody knows.

    Linux' `ru_maxrss` would count the process that started this one too (it survives `exec`), so
    there the kernel's own high-water mark of this address space is read.
    """
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M)
        if found:
            return int(found[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(job_path: str, result_path: str) -> int:
    """Do the job; 0 where it was measured, else 1 with the reason in the result file."""
    job = from_json(MeasurementJob, json.loads(Path(job_path).read_text(encoding="utf-8")))
    result: dict[str, Any] = {}
    try:
        result["reading"] = asdict(measure(job))
    except TledgeError as error:
        result = errors.error_to_json(error)
    files.write_json(Path(result_path), result)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    subprocesses.end_with_parent()
    gc.disable()  # its pauses are the interpreter's, not the model's
    sys.exit(main(*sys.argv[1:]))
