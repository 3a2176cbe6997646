"""Images a second of fine-tuning on this machine's device, and how long the device waits for data.

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
from tledge import feeding, fitting, hardware, model, quiet, runs, training
from tledge.tables import Hardware, Model, Stage

CLASSES = 10
PRECISIONS = ("float32", "bfloat16", "float16")
EPOCHS = 3


@dataclass(frozen=True)
class Case:
    network: Model
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.network.backbone} {self.network.alpha:g}/{self.network.image_size}"


def network(name: str, size: int, alpha: float = 1.0) -> Model:
    return Model(backbone=name, alpha=alpha, weights="none", image_size=size)


FULL = (Case(network("mobilenetv2", 224), 64, 30), Case(network("xception", 299), 32, 30))
SMALL = (Case(network("mobilenetv2", 32, 0.35), 8, 8), Case(network("xception", 71), 2, 3))


def bytes_on_disk(case: Case, folder: Path) -> feeding.Examples:
    """Random photos, memory-mapped as the cache of prepared photos is."""
    import numpy as np

    side, count, rng = case.network.image_size, case.batch * case.steps, np.random.default_rng(0)
    path = folder / f"{side}.npy"
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, side, side, 3))
    for row in range(count):
        out[row] = rng.integers(0, 256, out.shape[1:], np.uint8)
    out.flush()
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]
    return feeding.Examples(np.load(path, mmap_mode="r"), labels, np.arange(count))


def by_hand(examples: feeding.Examples, batch: int) -> Any:
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
    """The fastest epoch of `fit`, the first one left out."""
    import keras

    taken: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            float((logs or {})["loss"])  # waits for the device
            taken.append(time.perf_counter() - self.begun)

    net.fit(data, epochs=EPOCHS, verbose=0, shuffle=False, callbacks=[Clock()])
    return min(taken[1:])


def resident_seconds(net: Any, examples: feeding.Examples, case: Case) -> float:
    """As `epoch_seconds`, with one batch that is on the device."""
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
    same, taken = itertools.repeat(tuple(batch)), []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        for _ in range(case.steps):
            logs = net.train_function(same)
        float(logs["loss"])
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def compiled(case: Case, precision: str) -> Any:
    """The network as `tledge train` makes and compiles it."""
    table = Hardware(precision=precision)
    engine = hardware.Engine(table)
    training._seed(0, Hardware())
    with engine.building():
        net = model.build(case.network, CLASSES)
    stage = Stage(unfreeze="all", learning_rate=1e-4, batch_size=case.batch)
    model.set_trainable(net, stage)
    net.compile(
        optimizer=engine.scaled(fitting.optimizer(stage, EPOCHS * case.steps)),
        loss=fitting.loss(stage),
        metrics=fitting.metrics(CLASSES),
        jit_compile=hardware.JIT[table.jit_compile],
        auto_scale_loss=False,
    )
    return net


def measure(case: Case, precision: str, examples: feeding.Examples) -> dict[str, Any]:
    stage = Stage(unfreeze="all", batch_size=case.batch)
    data: dict[str, Callable[[], Any]] = {
        "tledge": lambda: feeding.batches(examples, stage, 0, 0, train=True),
        "plain": lambda: by_hand(examples, case.batch),
    }
    images = case.batch * case.steps
    found: dict[str, Any] = {"network": case.name, "batch": case.batch, "precision": precision}
    for name, make in data.items():
        found[name] = images / epoch_seconds(compiled(case, precision), make())
    found["resident"] = images / resident_seconds(compiled(case, precision), examples, case)
    for name in data:
        found[f"idle_{name}"] = max(0.0, 1 - found[name] / found["resident"])
    found["tledge_to_plain"] = found["tledge"] / found["plain"]
    return found


def device() -> dict[str, Any]:
    """Where this ran: devices by the backend's own names, versions."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        devices = [one.device_kind for one in jax.local_devices()]
    else:
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        gpus = tf.config.list_physical_devices("GPU")
        devices = [details(one).get("device_name", one.name) for one in gpus] or ["cpu"]
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


def line(row: dict[str, Any]) -> str:
    words = [
        row["network"],
        row["precision"],
        *(f"{row[name]:.1f}" for name in ("tledge", "plain", "resident")),
    ]
    words += ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("tledge_to_plain", "to_float32")]
    words += [f"{row[name]:.0%}" for name in ("idle_tledge", "idle_plain")]
    return aligned(words)


def aligned(words: Any) -> str:
    first, second, *others = words
    return f"{first:22} {second:9}" + "".join(f" {word:>10}" for word in others)


def cases(asked: argparse.Namespace) -> list[Case]:
    """The networks that were asked for, with the batch that was."""
    listed = SMALL if asked.small else FULL
    wanted = [one for one in listed if not asked.network or one.network.backbone in asked.network]
    return [replace(one, batch=asked.batch or one.batch) for one in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small networks and few steps, for a CPU")
    parser.add_argument("--out", type=Path, help="JSON file (default: benchmarks/results/gpu-BACKEND.json)")
    parser.add_argument("--network", action="append", help="only this backbone; may be repeated")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="only this; may be repeated")
    parser.add_argument("--batch", type=int, help="images in a batch (default: 64 and 32)")
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = quiet.load("keras", "train")
    backend = keras.backend.backend()
    rows: list[dict[str, Any]] = []
    facts = device()
    print(f"{', '.join(facts['devices'])}, {backend}; images/s")
    print(aligned(HEADER))
    name = f"gpu-{backend}{'-small' if asked.small else ''}.json"
    out = asked.out or Path(__file__).with_name("results") / name
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(asked):
            examples, base = bytes_on_disk(case, Path(folder)), None
            for precision in asked.precision or PRECISIONS:
                row = measure(case, precision, examples)
                base = row["tledge"] if precision == "float32" else base
                row["to_float32"] = base and row["tledge"] / base
                rows.append(row)
                print(line(row), flush=True)
                # After every row: a machine that is lent may be taken back.
                runs.write_json(out, {"machine": facts, "epochs": EPOCHS, "small": asked.small, "rows": rows})
    print(f"written: {out}")


if __name__ == "__main__":
    main()
