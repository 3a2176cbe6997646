"""Open model files one after the other, as commands do, and report how each step of each ended.

    python -m torture.workers.model_opener PHOTO BUNDLE RESULTS FILE...

A line of JSON in RESULTS before and after each step; after a crash the last line names it. Nothing is opened
in another process here: this is the process that is tried. BUNDLE is a folder whose artifact of the
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

from tledge.cli import listing
from tledge.errors import TledgeError
from tledge.inference.predict import predict
from tledge.inference.predictor import open_predictor
from tledge.models import classifier
from tledge.runtime import sandbox, sessions
from tledge.runtime.model_file import read_model
from tledge.verification.verify import failure, verify_bundle

PATIENCE = 60
"""Seconds for a step; then SIGALRM ends the process, also within native code."""

MEMORY = {".tflite": 3 << 30, ".onnx": 3 << 30, ".keras": 8 << 30}
"""Bytes of address space; TensorFlow maps much of it unused."""

VARIANTS = {".tflite": "tflite-int8", ".onnx": "onnx-fp32"}


def zeros(file: Path, photo: Path, bundle: Path) -> None:
    """Open the model and predict an image of zeros."""
    import numpy as np

    session = sessions.open_session(read_model(file))
    height, width = session.image_size
    session.run(np.zeros((1, height, width, 3), np.uint8))


def answers(file: Path, photo: Path, bundle: Path) -> None:
    """Predict, as `tledge predict` does."""
    list(predict(open_predictor(file), [photo], 3))


def inspect(file: Path, photo: Path, bundle: Path) -> None:
    """Inspect the file, as `tledge inspect` does."""
    listing.inspect(file)


def verify(file: Path, photo: Path, bundle: Path) -> None:
    """Verify a bundle that holds the file, as `tledge verify` does."""
    report = verify_bundle(replace_artifact(file, bundle))
    if not report.passed:
        raise failure(report)


def keras(file: Path, photo: Path, bundle: Path) -> None:
    """Load the file, as export and preview do."""
    import numpy as np

    net = classifier.load(file)
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


def replace_artifact(file: Path, bundle: Path) -> Path:
    """Put the file in the place of the bundle's artifact, and make all hashes right."""
    data, path = file.read_bytes(), bundle / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for artifact in raw["artifacts"]:
        if artifact["variant"] == VARIANTS[file.suffix]:
            (bundle / artifact["path"]).write_bytes(data)
            artifact["sha256"], artifact["bytes"] = hashlib.sha256(data).hexdigest(), max(1, len(data))
    raw["artifacts"] = [
        artifact for artifact in raw["artifacts"] if artifact["variant"] == VARIANTS[file.suffix]
    ] or raw["artifacts"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(bundle).as_posix()}\n"
        for path in files
    ]
    (bundle / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return bundle


def main(photo: Path, bundle: Path, results: Path, files: list[Path]) -> None:
    """Run every step on every file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY[files[0].suffix],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sandbox.is_possible = lambda _library: False
    with results.open("a", encoding="utf-8") as out:

        def say(**facts: Any) -> None:
            out.write(json.dumps(facts) + "\n")
            out.flush()

        for file in files:
            for step in STEPS[file.suffix]:
                say(file=file.name, step=step.__name__)
                signal.alarm(PATIENCE)
                ended = run_step(step, file, photo, bundle)
                signal.alarm(0)
                say(file=file.name, step=step.__name__, ended=ended)
                if step is zeros and ended != "ran":
                    break  # a command ends here
            if ended != "ran" and file.suffix != ".keras" and step is zeros:
                say(file=file.name, step="inspect")
                say(file=file.name, step="inspect", ended=run_step(inspect, file, photo, bundle))


def run_step(step: Callable[[Path, Path, Path], None], file: Path, photo: Path, bundle: Path) -> str:
    """Run a step, and describe how it ended; other errors than TledgeError would be a traceback."""
    try:
        step(file, photo, bundle)
    except TledgeError:
        return "refused"
    except BaseException as error:
        return f"RAISED {type(error).__name__}: {str(error)[:200]}"
    return "ran"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
