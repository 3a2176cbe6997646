"""The rules of structure: imports point downwards, heavy libraries load late, nothing grows too large."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "tledge"
HEAVY = {
    "numpy", "PIL", "keras", "tensorflow", "tensorflow_datasets", "tf2onnx", "onnx",
    "onnxruntime", "ai_edge_litert", "flatbuffers", "matplotlib", "h5py", "jax", "rich", "tflite_micro",
    "ethosu", "jinja2", "mlflow", "segno", "tensorboard", "cryptography",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))
CODE = sorted(
    path for place in ("tledge", "torture", "benchmarks", "tools") for path in (ROOT / place).rglob("*.py")
)
MOST_PACKAGES, MOST_FILES, MOST_MODULES = 23, 10, 20
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def broken_contracts(folder: Path) -> str:
    """What import-linter says of the package `tledge` in a folder; empty where all contracts are kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    command = [linter, "--config", ROOT / "pyproject.toml", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def test_packages_import_only_lower_layers() -> None:
    assert broken_contracts(ROOT) == ""


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        (
            "preprocessing/image.py",
            "from tledge.recipe import loader",
            "tledge.preprocessing -> tledge.recipe",
        ),
        ("_io/atomic.py", "def late():\n    from tledge.run import folder", "tledge._io -> tledge.run"),
        ("training/stage.py", "from tledge.conversion import export", "tledge.training -> tledge.conversion"),
        ("formats/onnx.py", "from tledge.bundle import reader", "tledge.formats -> tledge.bundle"),
    ],
)
def test_upward_import_is_caught(module: str, line: str, said: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "tledge"))
    with (copy / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{line}\n")
    importer, imported = said.split(" -> ")
    assert f"{importer} is not allowed to import {imported}" in " ".join(broken_contracts(tmp_path).split())


def test_package_in_no_layer_is_caught(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "tledge"))
    (copy / "attic").mkdir()
    (copy / "attic" / "__init__.py").write_text('"""Kept for later."""\n')
    assert "attic" in broken_contracts(tmp_path)


def test_layers_are_at_most_eight() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts[0]["layers"]) <= 8


def test_package_imports_nothing_of_its_own() -> None:
    """Or every module would load the API, which every module is below."""
    code = "import sys, tledge\nprint(*[name for name in sys.modules if name.startswith('tledge')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"tledge", "tledge._version"}


def heavy_imports(source: str) -> set[str]:
    """Heavy libraries imported at module level, guarded type-checking imports aside."""
    libraries: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            libraries.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            libraries.add((node.module or "").split(".")[0])
    return libraries & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_heavy_import_at_module_level(path: Path) -> None:
    assert heavy_imports(path.read_text()) == set()


def test_heavy_import_is_caught() -> None:
    assert heavy_imports("import numpy as np\nfrom PIL import Image\n") == {"numpy", "PIL"}


def loaded_by_help(folder: Path) -> set[str]:
    """The libraries that `tledge --help` loads, for the package in a folder."""
    command = [sys.executable, "-X", "importtime", "-m", "tledge", "--help"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}


def test_help_starts_light() -> None:
    loaded = loaded_by_help(ROOT)
    assert "click" in loaded
    assert loaded & HEAVY == set()
    assert loaded & {"_hashlib", "_socket"} == set()  # a tenth of the time each, for what help has no use


def test_heavy_start_is_caught(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "tledge"))
    main = copy / "cli" / "main.py"
    text = main.read_text()
    main.write_text(text.replace("import click\n", "import click\nimport numpy\n", 1))
    assert "numpy" in loaded_by_help(tmp_path)


def test_predicting_loads_no_converter() -> None:
    """A device waits for what is imported: neither the formats nor the recipe are needed there."""
    code = "import sys, tledge.inference.predict\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tledge.runtime.sessions" in loaded
    assert not loaded & {"tledge.formats.registry", "tledge.config", "tledge.models.classifier"}


def crowded(package: Path) -> list[str]:
    """Folders of a package that hold more than someone new can look over."""
    inside = [path for path in package.iterdir() if not path.name.startswith("__pycache__")]
    packages, files = [path for path in inside if path.is_dir()], [path for path in inside if path.is_file()]
    faults = []
    if len(packages) > MOST_PACKAGES or len(files) > MOST_FILES:
        faults.append(f"{package.name}: {len(packages)} packages, {len(files)} files")
    for folder in (path for path in package.rglob("*") if path.is_dir()):
        modules = len(list(folder.glob("*.py")))
        if modules > MOST_MODULES + 1:  # and `__init__.py`
            faults.append(f"{folder.name}: {modules} modules")
    return faults


def test_no_folder_is_crowded() -> None:
    assert crowded(PACKAGE) == []


def test_crowded_folder_is_caught(tmp_path: Path) -> None:
    (tmp_path / "tledge" / "many").mkdir(parents=True)
    for number in range(22):
        (tmp_path / "tledge" / "many" / f"m{number}.py").touch()
        (tmp_path / "tledge" / f"m{number}.py").touch()
    assert crowded(tmp_path / "tledge") == ["tledge: 1 packages, 22 files", "many: 22 modules"]


def too_long(name: str, source: str) -> list[str]:
    """The module, and those of its functions, that have too many lines."""
    faults = [f"{name}: {lines} lines"] if (lines := source.count("\n")) > MOST_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                faults.append(f"{name}: {node.name} has {lines} lines")
    return faults


@pytest.mark.parametrize("path", CODE, ids=module_name)
def test_nothing_is_too_long(path: Path) -> None:
    assert too_long(module_name(path), path.read_text()) == []


def test_too_long_is_caught() -> None:
    source = "def f():\n" + "    pass\n" * 401
    assert too_long("m", source) == ["m: 402 lines", "m: f has 402 lines"]


def test_package_files_hold_a_docstring_alone() -> None:
    """Or a device that predicts would load converters with a package's name."""
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            assert len(ast.parse(path.read_text()).body) == 1, path
