"""Opens model files one after the other, as commands do, and says how each step of each ended.

    python -m torture.workers.model_opener PHOTO BUNDLE RESULTS FILE...

A line of JSON in RESULTS before and after each step; after a crash the last line names it. There is
no trial by another process here: this is the process that is tried. BUNDLE is a folder whose artifact of the
file's format is replaced by the file.
"""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tledge import listing, model, trial, trial_worker, verification
from tledge.errors import TledgeError
from tledge.predict import predict
from tledge.reader import open_predictor

PATIENCE = 60
"""Seconds for a step; then SIGALRM ends the process, also within native code."""

MEMORY = {".tflite": 3 << 30, ".onnx": 3 << 30, ".keras": 8 << 30}
"""Bytes of address space; TensorFlow maps much of it unused."""

VARIANTS = {".tflite": "tflite-int8", ".onnx": "onnx-fp32"}


def zeros(file: Path, photo: Path, bundle: Path) -> None:
    """What a trial does."""
    trial_worker._try(file.read_bytes(), file.name, "xnnpack")


def answers(file: Path, photo: Path, bundle: Path) -> None:
    """What `tledge predict` does after a trial."""
    list(predict(open_predictor(file), [photo], 3))


def inspect(file: Path, photo: Path, bundle: Path) -> None:
    """What `tledge inspect` does."""
    listing.inspect(file)


def verify(file: Path, photo: Path, bundle: Path) -> None:
    """What `tledge verify` does with a bundle that holds the file."""
    report = verification.verify_bundle(put(file, bundle))
    if not report.passed:
        raise verification.failure(report)


def keras(file: Path, photo: Path, bundle: Path) -> None:
    """What export and preview do."""
    import numpy as np

    net = model.load(file)
    with_numbers = np.zeros((1, *(side or 1 for side in net.input_shape[1:])), np.float32)
    try:
        net.predict_on_batch(with_numbers)
    except Exception as error:  # a network of another shape: export and preview say so
        raise TledgeError(str(error)) from error


STEPS: dict[str, tuple[Callable[[Path, Path, Path], None], ...]] = {
    ".tflite": (zeros, answers, inspect, verify),
    ".onnx": (zeros, answers, inspect, verify),
    ".keras": (keras,),
}


def put(file: Path, bundle: Path) -> Path:
    """The bundle with the file in the place of its artifact, and all hashes right."""
    data, path = file.read_bytes(), bundle / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for one in raw["artifacts"]:
        if one["variant"] == VARIANTS[file.suffix]:
            (bundle / one["path"]).write_bytes(data)
            one["sha256"], one["bytes"] = hashlib.sha256(data).hexdigest(), max(1, len(data))
    raw["artifacts"] = [one for one in raw["artifacts"] if one["variant"] == VARIANTS[file.suffix]] or raw[
        "artifacts"
    ]
    path.write_text(json.dumps(raw), encoding="utf-8")
    files = sorted(one for one in bundle.rglob("*") if one.is_file() and one.name != "SHA256SUMS")
    sums = [
        f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.relative_to(bundle).as_posix()}\n"
        for one in files
    ]
    (bundle / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return bundle


def main(photo: Path, bundle: Path, results: Path, files: list[Path]) -> None:
    """Try every step on every file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY[files[0].suffix],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    trial.require = lambda *_given: None  # type: ignore[assignment]
    with results.open("a", encoding="utf-8") as out:

        def say(**facts: Any) -> None:
            out.write(json.dumps(facts) + "\n")
            out.flush()

        for file in files:
            for step in STEPS[file.suffix]:
                say(file=file.name, step=step.__name__)
                signal.alarm(PATIENCE)
                ended = how(step, file, photo, bundle)
                signal.alarm(0)
                say(file=file.name, step=step.__name__, ended=ended)
                if step is zeros and ended != "ran":
                    break  # a command ends here
            if ended != "ran" and file.suffix != ".keras" and step is zeros:
                say(file=file.name, step="inspect")
                say(file=file.name, step="inspect", ended=how(inspect, file, photo, bundle))


def how(step: Callable[[Path, Path, Path], None], file: Path, photo: Path, bundle: Path) -> str:
    """How a step ended; what is no TledgeError would be a traceback to a person."""
    try:
        step(file, photo, bundle)
    except TledgeError:
        return "refused"
    except BaseException as error:
        return f"RAISED {type(error).__name__}: {str(error)[:200]}"
    return "ran"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), [Path(one) for one in sys.argv[4:]])
