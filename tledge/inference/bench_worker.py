"""Measure one configuration in its own process: `python -m tledge.inference.bench_worker JOB RESULT`.

The peak memory is then that of one artifact alone, and native code that crashes ends only this process. The
figures are:

- **A query** is `Session.run` of one image: preprocessed bytes in, probabilities out; the next one starts
  when the last has ended (MLPerf's single stream). Decoding and resizing photos is not included.
- **load_ms** is opening the session once: reading the file (from the system's file cache) and building the
  graph. The runtime library itself is imported before.
- **Percentiles** are nearest-rank: the smallest measured latency that p % of all do not exceed.
- **images_per_second** is queries divided by the time of this same stream: one after the other, no
  batches, so it is at most 1000 / mean latency.
- **peak_mib** is the largest resident memory, including the interpreter, numpy, the runtime library and the
  images; **model_mib** is how much that peak grew since just before the session was opened: the memory of
  the artifact itself.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge import errors
from tledge._io import files
from tledge._io.json_records import from_json
from tledge._process import optional_imports, subprocesses
from tledge.errors import TledgeError
from tledge.runtime import sessions
from tledge.runtime.latency import Minimum, percentiles, stream
from tledge.runtime.sessions import LiteRTSession, OnnxSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RANDOM_IMAGES, SEED = 4, 0
"""Number and seed of the random images for a model without photos; few, since they count as its memory."""


@dataclass(frozen=True)
class MeasurementJob:
    """One artifact with one kernel family and a number of threads.

    `images` is the path of an `.npy` of uint8[N, H, W, 3], empty for random bytes of the model's own size;
    `warm_up` runs before and is not measured.
    """

    model: str
    images: str
    kernels: str
    threads: int
    warm_up: Minimum
    minimum: Minimum


@dataclass(frozen=True)
class Reading:
    """The figures of one measurement; memory is None where the system does not report it."""

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
    """Load, warm up and time the job's artifact in this process; `clock` returns nanoseconds.

    Raises ArtifactError where it does not load or does not take an image, MissingError without its runtime.
    """
    import numpy as np

    path = Path(job.model)
    images = np.load(job.images, allow_pickle=False) if job.images else None
    optional_imports.import_runtime(path.name)  # not part of load time and memory
    before = peak_mib()
    start = clock()
    session = sessions.open_session(path, job.kernels, job.threads)
    load_ms = (clock() - start) / 1e6
    if images is None:
        images = random_images(session)
    stream(session, images, job.warm_up, clock)
    start = clock()
    latencies = stream(session, images, job.minimum, clock)
    seconds = (clock() - start) / 1e9
    peak = peak_mib()
    p50, p90, p99 = percentiles(latencies)
    grown = None if peak is None or before is None else round(peak - before, 2)
    rate = len(latencies) / seconds
    return Reading(load_ms, p50, p90, p99, rate, len(latencies), seconds, peak, grown)


def random_images(session: LiteRTSession | OnnxSession) -> NDArray[np.uint8]:
    """Draw random bytes uint8[N, H, W, 3] of the size that the model takes, always the same.

    Raises ArtifactError where it does not take one RGB image of a fixed size.
    """
    import numpy as np

    shape = (RANDOM_IMAGES, *session.image_size, 3)
    return np.random.default_rng(SEED).integers(0, 256, shape, np.uint8)


def peak_mib(status: Path = Path("/proc/self/status")) -> float | None:
    """Read the largest resident memory of this process so far, in MiB; None where it is unknown.

    Linux' `ru_maxrss` includes the process that started this one (it survives `exec`), so there the
    kernel's own high-water mark of this address space is read.
    """
    with suppress(OSError):
        high_water_mark = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M)
        if high_water_mark:
            return int(high_water_mark[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(job_path: str, result_path: str) -> int:
    """Measure the job; return 0, or 1 with the reason in the result file."""
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
    gc.disable()  # its pauses belong to the interpreter, not to the model
    sys.exit(main(*sys.argv[1:]))
