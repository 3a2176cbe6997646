"""Measure how many images a second this device trains, and how long it waits for data.

    python -m benchmarks.gpu                # MobileNetV2 1.0/224 and Xception/299
    python -m benchmarks.gpu --small        # seconds to minutes on a CPU: small networks, few steps
    KERAS_BACKEND=jax python -m benchmarks.gpu

Every network trains whole, with random weights on random bytes, in float32, bfloat16 and float16:

- `tledge`: its batches, through Keras' `fit`, compiled as `tledge train` compiles;
- `plain`: the same network and batch size with the batches that one writes by hand, made float32 on
  the host; same process, same device, same deterministic kernels;
- `resident`: one batch that lies on the device already, over and over: no data to wait for.

Idle is the share of the time in which the device waits for data: 1 - step time with the resident
batch / step time through the batches. All are warmed up by one epoch; the fastest of the others counts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from tledge._io import files
from tledge._process import optional_imports
from tledge.config import Hardware, Model, Stage
from tledge.models import classifier
from tledge.training import accelerators, batches, optimizer, pipeline

CLASSES = 10
PRECISIONS = ("float32", "bfloat16", "float16")
EPOCHS = 3


@dataclass(frozen=True)
class TrainingCase:
    network: Model
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.network.backbone} {self.network.alpha:g}/{self.network.image_size}"


def network(name: str, size: int, alpha: float = 1.0) -> Model:
    return Model(backbone=name, alpha=alpha, weights="none", image_size=size)


FULL = (TrainingCase(network("mobilenetv2", 224), 64, 30), TrainingCase(network("xception", 299), 32, 30))
SMALL = (TrainingCase(network("mobilenetv2", 32, 0.35), 8, 8), TrainingCase(network("xception", 71), 2, 3))


def random_photos_on_disk(case: TrainingCase, folder: Path) -> batches.Examples:
    """Write random photos, memory-mapped as the cache of preprocessed photos is."""
    import numpy as np

    side, count, rng = case.network.image_size, case.batch * case.steps, np.random.default_rng(0)
    path = folder / f"{side}.npy"
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, side, side, 3))
    for row in range(count):
        out[row] = rng.integers(0, 256, out.shape[1:], np.uint8)
    out.flush()
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]
    return batches.Examples(np.load(path, mmap_mode="r"), labels, np.arange(count))


def hand_written_batches(examples: batches.Examples, batch: int) -> Any:
    import keras
    import numpy as np

    order = np.random.default_rng(0).permutation(len(examples.rows))

    class ByHand(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(order) // batch

        def __getitem__(self, number: int) -> Any:
            rows = np.sort(order[number * batch : (number + 1) * batch])
            return examples.images[rows].astype("float32"), examples.labels[rows]

    return ByHand()


def epoch_seconds(net: Any, data: Any) -> float:
    """Time epochs of `fit`; return the fastest one, the first left out."""
    import keras

    epochs: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            float((logs or {})["loss"])  # waits for the device
            epochs.append(time.perf_counter() - self.begun)

    net.fit(data, epochs=EPOCHS, verbose=0, shuffle=False, callbacks=[Clock()])
    return min(epochs[1:])


def resident_seconds(net: Any, examples: batches.Examples, case: TrainingCase) -> float:
    """Time epochs as `epoch_seconds` does, with one batch that is on the device."""
    import keras
    import numpy as np

    first = np.arange(case.batch)
    batch = [keras.ops.convert_to_tensor(part[first]) for part in (examples.images, examples.labels)]
    if keras.backend.backend() == "jax":

        class Same(keras.utils.PyDataset):  # type: ignore[misc]
            def __len__(self) -> int:
                return case.steps

            def __getitem__(self, number: int) -> Any:
                return tuple(batch)

        return epoch_seconds(net, Same())
    net.make_train_function()  # `fit` would bring the batch back to the host and copy it every step
    same, epochs = itertools.repeat(tuple(batch)), []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        for _ in range(case.steps):
            logs = net.train_function(same)
        float(logs["loss"])
        epochs.append(time.perf_counter() - begun)
    return min(epochs[1:])


def compile_network(case: TrainingCase, precision: str) -> Any:
    """Build and compile the network as `tledge train` does."""
    table = Hardware(precision=precision)
    engine = accelerators.Engine(table)
    pipeline._seed(0, Hardware())
    with engine.building():
        net = classifier.build(case.network, CLASSES)
    stage = Stage(unfreeze="all", learning_rate=1e-4, batch_size=case.batch)
    classifier.set_trainable(net, stage)
    net.compile(
        optimizer=engine.scaled(optimizer.optimizer(stage, EPOCHS * case.steps)),
        loss=optimizer.loss(stage),
        metrics=optimizer.metrics(CLASSES),
        jit_compile=accelerators.JIT[table.jit_compile],
        auto_scale_loss=False,
    )
    return net


def measure(case: TrainingCase, precision: str, examples: batches.Examples) -> dict[str, Any]:
    stage = Stage(unfreeze="all", batch_size=case.batch)
    data: dict[str, Callable[[], Any]] = {
        "tledge": lambda: batches.batches(examples, stage, 0, 0, train=True),
        "plain": lambda: hand_written_batches(examples, case.batch),
    }
    images = case.batch * case.steps
    figures: dict[str, Any] = {"network": case.name, "batch": case.batch, "precision": precision}
    for name, make in data.items():
        figures[name] = images / epoch_seconds(compile_network(case, precision), make())
    figures["resident"] = images / resident_seconds(compile_network(case, precision), examples, case)
    for name in data:
        figures[f"idle_{name}"] = max(0.0, 1 - figures[name] / figures["resident"])
    figures["tledge_to_plain"] = figures["tledge"] / figures["plain"]
    return figures


def device() -> dict[str, Any]:
    """Describe where this runs: devices by the backend's own names, and versions."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        devices = [local_device.device_kind for local_device in jax.local_devices()]
    else:
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        gpus = tf.config.list_physical_devices("GPU")
        devices = [details(gpu).get("device_name", gpu.name) for gpu in gpus] or ["cpu"]
    return {"devices": devices, "backend": keras.backend.backend(), **machine.describe()}


HEADER = (
    "network",
    "precision",
    "tledge",
    "plain",
    "resident",
    "t/plain",
    "t/float32",
    "idle t",
    "idle plain",
)


def row_line(row: dict[str, Any]) -> str:
    cells = [
        row["network"],
        row["precision"],
        *(f"{row[name]:.1f}" for name in ("tledge", "plain", "resident")),
    ]
    cells += ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("tledge_to_plain", "to_float32")]
    cells += [f"{row[name]:.0%}" for name in ("idle_tledge", "idle_plain")]
    return aligned(cells)


def aligned(cells: Any) -> str:
    first, second, *others = cells
    return f"{first:22} {second:9}" + "".join(f" {cell:>10}" for cell in others)


def selected_cases(arguments: argparse.Namespace) -> list[TrainingCase]:
    """Select the networks and the batch size that the command line names."""
    listed = SMALL if arguments.small else FULL
    selected = [
        case for case in listed if not arguments.network or case.network.backbone in arguments.network
    ]
    return [replace(case, batch=arguments.batch or case.batch) for case in selected]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small networks and few steps, for a CPU")
    parser.add_argument("--out", type=Path, help="JSON file (default: benchmarks/results/gpu-BACKEND.json)")
    parser.add_argument("--network", action="append", help="only this backbone; may be repeated")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="only this; may be repeated")
    parser.add_argument("--batch", type=int, help="images in a batch (default: 64 and 32)")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = optional_imports.load("keras", "train")
    backend = keras.backend.backend()
    rows: list[dict[str, Any]] = []
    facts = device()
    print(f"{', '.join(facts['devices'])}, {backend}; images/s")
    print(aligned(HEADER))
    name = f"gpu-{backend}{'-small' if arguments.small else ''}.json"
    out = arguments.out or Path(__file__).with_name("results") / name
    with tempfile.TemporaryDirectory() as folder:
        for case in selected_cases(arguments):
            examples, base = random_photos_on_disk(case, Path(folder)), None
            for precision in arguments.precision or PRECISIONS:
                row = measure(case, precision, examples)
                base = row["tledge"] if precision == "float32" else base
                row["to_float32"] = base and row["tledge"] / base
                rows.append(row)
                print(row_line(row), flush=True)
                # After every row: a machine that is lent may be taken back.
                files.write_json(
                    out, {"machine": facts, "epochs": EPOCHS, "small": arguments.small, "rows": rows}
                )
    print(f"written: {out}")


if __name__ == "__main__":
    main()
