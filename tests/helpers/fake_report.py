"""A run with everything a report shows, made in a second without TensorFlow, and a reader of its page."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_pairs
from tests.helpers.fake_data import photos
from tests.helpers.recipes import tiny_recipe
from tledge._io import files
from tledge.config import Parity
from tledge.contract import AbstentionPolicy
from tledge.conversion.layer_diagnosis import Diagnosis
from tledge.data import inspection, prepare, splits
from tledge.environment.machine import Machine
from tledge.inference.bench import BenchReport, Measure
from tledge.quantization.sensitivity import Cost, Layer, Sensitivity
from tledge.recipe import loader
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.runtime.latency import Minimum
from tledge.verification import parity
from tledge.verification.verify import verify_run

LABELS = fake_pairs.LABELS
LIMITS = Parity(float_agreement=0.9, float_max_dp=1e9)

STAGES = """name = "head"
epochs = 2
[[stage]]
name = "all of it"
epochs = 3
unfreeze = "all"
learning_rate = 1e-4
[export]
variants = ["tflite-fp32"]
[recipe]
name = "tiny"
description = "cats, dogs and owls"
"""

HISTORY = [
    ("head", 1, 1.1, 0.4, 1.2, 0.35), ("head", 2, 0.8, 0.6, 0.9, 0.55), ("all of it", 1, 0.5, 0.8, 0.7, 0.7),
    ("all of it", 2, 0.3, 0.9, 0.6, 0.75), ("all of it", 3, 0.2, 0.95, 0.65, 0.8125),
]  # fmt: skip


def run(path: Path, flipped: int = 3, exported: bool = True) -> Path:
    """A run whose artifacts answer otherwise than Keras on `flipped` of 200 test images."""
    fake_pairs.run(path)
    folder = RunFolder(path)
    _answer(folder, flipped)
    _describe(folder)
    _history(folder)
    if exported:
        verify(folder)
    else:
        folder.parity.unlink()
        for one in folder.artifacts.glob("*.json"):
            one.unlink()
    return path


def _answer(folder: RunFolder, flipped: int) -> None:
    """Keras' answers: the artifacts' own, but for some that are another label's."""
    kept = golden_set.load(folder.golden)
    logits = kept.images.reshape(len(kept.images), -1).astype(np.float32) @ fake_pairs.weights().T
    shares = np.exp((logits - logits.max(1, keepdims=True)) / 40)
    shares /= shares.sum(1, keepdims=True)
    shares[50 : 50 + flipped] = np.roll(shares[50 : 50 + flipped], 1, axis=1)
    golden_set.save(folder.golden, golden_set.Golden(kept.images, kept.labels, shares, kept.ids, {}))
    right = int((shares.argmax(1) == kept.labels).sum())
    low, high = runs_interval(right, len(shares))
    facts = json.loads(folder.run.read_text())
    score = {"images": len(shares), "accuracy": right / len(shares), "low": low, "high": high, "top5": None}
    facts |= {"test": score, "description": "cats, dogs and owls", "backbone": "tiny", "parameters": 16139}
    facts |= {"confidence": asdict(AbstentionPolicy(1.5, 0.4, 40, 0.95, 0.02)), "seconds": 92.5}
    folder.run.write_text(json.dumps(facts))


def runs_interval(right: int, count: int) -> tuple[float, float]:
    from tledge.metrics.statistics import wilson

    return wilson(right, count)


def _describe(folder: RunFolder) -> None:
    """Recipe, environment, and what training keeps of the photos."""
    source = photos(folder.path.parent / "photos", {"train": 36, "test": 18}, LABELS)
    folder.recipe.write_text(tiny_recipe(f'source = "folder:{source}"\nlicence = "CC BY 2.0"', STAGES))
    packages = {"keras": "3.15.1", "numpy": "2.4.6"}
    facts = {"tledge": "0.1.0", "seed": 7, "settings": ["stage.0.epochs=2"], "backend": "tensorflow"}
    files.write_json(folder.environment, {**facts, "python": "3.11.7", "processors": 2, "packages": packages})
    made = loader.of_run(folder)
    prepared = prepare.prepare_dataset(made.data, 32)
    inspection.write_evidence(folder, prepared, splits.split(prepared, made.data, 7), 7)


def _history(folder: RunFolder) -> None:
    with folder.history.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("stage", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"))
        table.writerows([*row, 1.5] for row in HISTORY)


def verify(folder: RunFolder, limits: Parity = LIMITS) -> None:
    """Write `parity.json`, by the product's own verification; the tiny files are not judged as files."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(parity, "structural_reasons", lambda *_rest: [])
        verify_run(folder, limits)


def sha_of(folder: RunFolder, variant: str) -> str:
    return str(json.loads((folder.artifacts / f"{variant}.json").read_text())["sha256"])


def add_bench(folder: RunFolder, load: float = 0.1) -> None:
    """`bench.json` with two kernels of one artifact, on one thread and two."""
    here = Machine("a processor", "x86_64", 2, 4096, "Linux 6", "3.11.7", {"numpy": "2.4.6"}, load)
    path, sha = "artifacts/tflite-fp32.tflite", sha_of(folder, "tflite-fp32")

    def measure(kernels: str, threads: int, p50: float) -> Measure:
        return Measure("tflite-fp32", path, 2304, kernels, threads, "measured", 0.9, "xnnpack", "passed",
                       p50_ms=p50, sha256=sha)  # fmt: skip

    rows = (measure("reference", 1, 9.5), measure("xnnpack", 2, 0.7), measure("xnnpack", 1, 1.25))
    files.write_json(folder.bench, BenchReport("tiny", "run", here, False, Minimum(1, 1.0), rows, ()))


def add_diagnosis(folder: RunFolder) -> None:
    """`evidence/quantization.json` of two layers."""
    layers = (
        Layer("stem", "CONV_2D", -1.0, 2.0, 30.0, 2.0, rounded=Cost(0.02, 0.1), output=Cost(0.0, 0.0)),
        Layer("<top>", "FULLY_CONNECTED", 0.0, 6.0, None, 1.0, output=Cost(0.05, 0.2)),
    )
    found = Sensitivity(125, 200, 1.0, {"rounded": Cost(0.02, 0.1)}, layers)
    words = ("<top>: outputs cost 5.0 points. `tledge export run --repair` tries remedies.",)
    made = Diagnosis("run", "artifacts/tflite-fp32.tflite", sha_of(folder, "tflite-fp32"), found, words)
    files.write_json(folder.quantization, made)


class Page(HTMLParser):
    """What a test wants of a page: its figures, pictures, links, words, verdicts, lines of charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str, str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.verdicts: dict[str, str] = {}
        self.series: dict[str, list[float | None]] = {}
        self.bins: list[tuple[float, ...]] = []
        self.text = ""
        self._figure: tuple[str, str] | None = None
        self._variant = ""
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self._hidden = self._hidden or tag == "style"
        if tag == "data":
            self._figure = (found["data-fact"], found["value"])
        self._variant = found.get("data-verdict", "")
        if "data-series" in found:
            values = found["data-values"].split(" ")
            self.series[found["data-series"]] = [float(one) if one else None for one in values]
        if "data-bin" in found:
            self.bins.append(tuple(float(one) for one in found["data-bin"].split()))

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"
        self._figure = None

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        self.text += data
        if self._figure:
            self.figures.append((*self._figure, data))
        if self._variant:
            self.verdicts[self._variant] = data
            self._variant = ""

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def known(path: Path) -> dict[str, float]:
    """Every figure that a page may state, by its name, read and computed apart from the product."""
    found = dict(_flat("run", json.loads((path / "run.json").read_text())))
    if (path / "parity.json").is_file():
        found |= dict(_of_parity(json.loads((path / "parity.json").read_text())))
    for name, file in (("photos", "evidence/photos.json"), ("calibration", "calibration.json")):
        if (path / file).is_file():
            found |= dict(_flat(name, json.loads((path / file).read_text())))
    for split in ("train", "validation", "test"):
        parts = [value for key, value in found.items() if key.startswith(f"photos.counts.{split}.")]
        found[f"photos.counts.{split}"] = sum(parts)
    with (path / "history.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            found |= {f"history.{number}.{key}": float(row[key]) for key in ("epoch", "val_accuracy")}
    return found | dict(_of_golden(path))


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}", one)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value


def _of_parity(report: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield from _flat("parity.reference", report["reference"])
    for row in report["rows"]:
        yield from _flat(f"parity.{row['variant']}", row)
        for label, (_images, _before, after) in row["recall"].items():
            yield f"recall.{row['variant']}.{label}", after


def _of_golden(path: Path) -> Iterator[tuple[str, float]]:
    with np.load(path / "golden.npz") as packed:
        labels, shares = packed["labels"], packed["probabilities"]
    answers, sure = shares.argmax(1), shares.max(1).astype(float)
    place = np.ceil(sure * 15)
    gaps = [abs((sure - (answers == labels))[place == one].sum()) for one in np.unique(place)]
    yield "answers.ece", sum(gaps) / len(labels)
    names = json.loads((path / "run.json").read_text())["labels"]
    yield "answers.images", len(labels)
    for number, label in enumerate(names):
        mine = labels == number
        yield f"answers.class.{label}.images", int(mine.sum())
        if mine.any():
            yield f"answers.class.{label}.recall", float((answers[mine] == number).mean())
        if (answers == number).any():
            yield f"answers.class.{label}.precision", float(mine[answers == number].mean())
        for other, answer in enumerate(names):
            yield f"answers.counts.{label}.{answer}", int((answers[mine] == other).sum())


def contradictions(path: Path) -> list[str]:
    """Figures of a run's page that are not those of its files, and texts that are not their value."""
    expected, wrong = known(path), []
    for name, value, text in Page((path / "report.html").read_text(encoding="utf-8")).figures:
        if name.startswith("bench."):
            continue
        if name not in expected or abs(float(value) - expected[name]) > 1e-12:
            wrong.append(f"{name}: {value}, expected {expected.get(name)}")
        if not _reads(name, text, float(value)):
            wrong.append(f"{name}: reads {text}, is {value}")
    return wrong


def _reads(name: str, text: str, value: float) -> bool:
    """Whether a text is that value, to the last digit that it shows."""
    scale = 1.0
    for unit, factor in ((" pp", 100), ("%", 100)):
        if text.endswith(unit):
            text, scale = text.removesuffix(unit), factor
    scale *= {"bytes": 1 / 1024, "seconds": 1 / 60}.get(name.rpartition(".")[2], 1)
    plain = text.replace(",", "")
    mantissa = plain.partition("e")[0].partition(".")[2]
    step = 10.0 ** -len(mantissa) * (10.0 ** int(plain.partition("e")[2]) if "e" in plain else 1.0)
    return abs(float(plain) - value * scale) <= step / 2 + 1e-9
