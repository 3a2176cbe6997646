"""The two structural rules: modules import only lower layers; the command line starts light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "tledge"
LAYERS: list[set[str]] = [
    {"tledge", "errors", "progress", "parallel", "archives", "workers", "schema", "children", "interruption"},
    {"shipped", "shortage", "letters"},
    {"whole"},
    {
        "aborts",
        "quiet",
        "tables",
        "toml_text",
        "contract",
        "starter_words",
        "statistics",
        "plots",
        "machine",
        "tflite_metadata",
        "needs",
        "probe_worker",
        "locks",
    },
    {
        "hardware",
        "report.charts",
        "images",
        "runs",
        "runtime",
        "trial",
        "signature",
        "sources.base",
        "sources.hands",
        "sources.frames",
        "contact",
        "float_graph",
        "calibration",
        "ranges",
        "jitter",
        "packages",
        "page",
    },
    {
        "index",
        "sources.folder",
        "sources.tfds",
        "sources.tfrecord",
        "sources.csv",
        "sources.drawn",
        "hub",
        "formats.base",
        "golden",
        "reader",
        "bench_worker",
        "trial_worker",
        "confidence",
        "distribution",
        "operators",
        "arena_worker",
        "event_files",
        "words",
        "report.pictures",
    },
    {
        "sources",
        "backbones",
        "quantization",
        "equalization",
        "gates",
        "flips",
        "streaming",
        "filling",
        "preparations",
        "vela",
    },
    {
        "encodings",
        "similarity",
        "rounding",
        "held_out",
        "mixed",
        "calibration_set",
        "sensitivity",
        "onnx_quantization",
        "quantize_aware",
    },
    {"dataset", "model", "starter", "ladder"},
    {"splits", "golden_photos", "parcel", "formats.frozen"},
    {"inventory", "formats.saved_model", "formats.tflite_conversion", "formats.onnx_conversion"},
    {"formats.tflite", "formats.onnx"},
    {"formats", "budget"},
    {"microcontroller"},
    {"formats.__main__", "converter", "recipe", "parity", "subjects", "targets"},
    {"feeding", "remarks", "listing", "sides", "evidence", "summary", "given", "event_log", "mlflow_log"},
    {"distillation", "card", "sbom"},
    {"fitting", "report.answers", "report.training", "report.shipping", "report.again"},
    {"prefix", "logs", "report.facts"},
    {"report.rendering"},
    {
        "training",
        "exporting",
        "verification",
        "skew",
        "bundle",
        "predict",
        "bench",
        "comparison",
        "diagnosis",
        "doctor",
        "preview",
        "report",
    },
    {"preview.panel", "preview.feedback"},
    {"preview.server"},
    {"api"},
    {"console"},
    {"console_tables"},
    {"commands"},
    {
        "commands.photos",
        "commands.training",
        "commands.shipping",
        "commands.measuring",
        "commands.looking",
        "commands.comparing",
        "commands.previewing",
        "commands.completion",
        "commands.doctor",
    },
    {"cli"},
    {"__main__"},
]
HEAVY = {
    "numpy", "PIL", "keras", "tensorflow", "tensorflow_datasets", "tf2onnx", "onnx",
    "onnxruntime", "ai_edge_litert", "flatbuffers", "matplotlib", "h5py", "jax", "rich", "tflite_micro",
    "ethosu", "jinja2", "mlflow", "segno", "tensorboard", "cryptography",
}  # fmt: skip
FACE = {"tledge": {"api"}}
"""The one exception: what `import tledge` offers is the API, named there for type checkers and imported
when asked for, so that it is no import at all to those who do not ask."""


def level(name: str) -> int:
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    pytest.fail(f"tledge module {name!r} is in no layer: add it to LAYERS")


def module_name(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "tledge"


def imported_modules(tree: ast.AST) -> set[str]:
    """Names of tledge modules imported anywhere in `tree`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the whole name"
            module = node.module or ""
            for alias in node.names:
                path = PACKAGE.parent / f"{module}.{alias.name}".replace(".", "/")
                is_module = path.with_suffix(".py").exists() or path.is_dir()
                found.add(f"{module}.{alias.name}" if is_module else module)
    own = {name for name in found if name == "tledge" or name.startswith("tledge.")}
    return {name.removeprefix("tledge.") for name in own}


def upward_imports(source: str, name: str) -> set[str]:
    found = {other for other in imported_modules(ast.parse(source)) if level(other) >= level(name)}
    return found - FACE.get(name, set())


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_only_lower_layers(path: Path) -> None:
    assert upward_imports(path.read_text(), module_name(path)) == set()


def test_upward_import_is_caught() -> None:
    source = "def late():\n    from tledge.recipe import load\n"
    assert upward_imports(source, "images") == {"recipe"}


def test_package_imports_nothing_of_its_own() -> None:
    """Or every module would load the API, which every module is below."""
    code = "import sys, tledge\nprint(*[name for name in sys.modules if name.startswith('tledge')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tledge"]


def heavy_imports(source: str) -> set[str]:
    """Heavy libraries imported at module level, guarded type-checking imports aside."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_heavy_import_at_module_level(path: Path) -> None:
    assert heavy_imports(path.read_text()) == set()


def test_heavy_import_is_caught() -> None:
    assert heavy_imports("import numpy as np\nfrom PIL import Image\n") == {"numpy", "PIL"}


def test_help_starts_light() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tledge", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert loaded & HEAVY == set()
    assert loaded & {"_hashlib", "_socket"} == set()  # a tenth of the time each, for what help has no use


def test_predicting_loads_no_converter() -> None:
    """A device waits for what is imported: neither the formats nor the recipe are needed there."""
    code = "import sys, tledge.predict\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tledge.runtime" in loaded
    assert not loaded & {"tledge.formats", "tledge.tables", "tledge.model"}
