"""What `import tledge` offers: which names, how light, and that they do what the commands do."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.command_line import Cli, Done
from tests.helpers.paths import ROOT
from tests.helpers.small_run import SMALL

import tledge
from tledge import api, recipe
from tledge.errors import ArtifactError, DataError, ParityFailed, RecipeError

NAMES = [
    "Answer", "Classifier", "ComparedReport", "Exported", "ParityReport", "Prediction", "Run", "TledgeError",
    "__version__", "compare", "export", "load", "train", "verify",
]  # fmt: skip
FUNCTIONS = ["compare", "export", "load", "train", "verify"]


def test_names_are_fixed() -> None:
    assert tledge.__all__ == NAMES
    assert api.__all__ == [name for name in NAMES if name != "__version__"]
    assert set(NAMES) <= set(dir(tledge))


def test_names_are_what_the_api_has() -> None:
    for name in api.__all__:
        assert getattr(tledge, name) is getattr(api, name)
        assert (getattr(tledge, name).__doc__ or "").count(" ") > 4, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_typed_and_short_to_call(name: str) -> None:
    signature = inspect.signature(getattr(tledge, name))
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
    asked = [one.name for one in signature.parameters.values() if one.default is inspect.Parameter.empty]
    assert asked in (["a", "b"], ["model"], ["recipe"], [])


def test_no_module_stands_in_a_names_place() -> None:
    """An imported submodule becomes an attribute of its package, where it would hide the function."""
    modules = {path.stem for path in (ROOT / "tledge").iterdir()}
    assert "training" in modules and not modules & set(NAMES)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        getattr(tledge, "trian")  # noqa: B009


def test_api_loads_no_heavy_library() -> None:
    code = (
        "import sys, tledge\nassert 'tledge.api' not in sys.modules\ntledge.load\n"
        "heavy = {'numpy', 'PIL', 'keras', 'tensorflow', 'rich', 'click'}\n"
        "print('tledge.api' in sys.modules, *heavy & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_package_says_that_it_is_typed() -> None:
    assert (ROOT / "tledge" / "py.typed").read_bytes() == b""


def test_settings_are_read_back() -> None:
    asked = {
        "stage.0.epochs": 2,
        "stage.0.learning_rate": 1e-3,
        "stage.0.nesterov": True,
        "model.head": [8, 4],
    }
    lines = api._settings({**asked, "model.backbone": "tiny"})
    made = recipe.parse(SMALL, "small.toml", lines)
    assert (made.stage[0].epochs, made.stage[0].learning_rate, made.stage[0].nesterov) == (2, 1e-3, True)
    assert made.model.head == (8, 4) and made.model.backbone == "tiny"
    assert api._settings("a.b=1") == api._settings(["a.b=1"]) == ("a.b=1",)


def test_missing_model_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such model, bundle or run"):
        tledge.load(tmp_path / "none.tflite")


def test_recipe_of_no_name_is_explained() -> None:
    with pytest.raises(tledge.TledgeError, match="quickstart"):
        tledge.train("quickstrat")


@pytest.mark.slow
def test_predict_answers_as_the_command(small_run: Path, cli: Cli) -> None:
    bundle = small_run / "small-1.zip"
    photos = sorted((small_run / "bundle" / "golden").glob("0*.jpg"))
    wanted = json.loads(cli("predict", bundle, *photos, "--json").out)
    model = tledge.load(str(bundle))
    assert (model.variant, model.labels, model.size) == (
        "tflite-int8",
        ("paper", "rock", "scissors"),
        (48, 48),
    )
    assert "synthetic" in model.remarks[0] and "tflite-int8" in repr(model)
    answers = list(model.predict_all(photos))
    assert [one.best.label for one in answers] == [one["predictions"][0]["label"] for one in wanted]
    assert [one.best.confidence for one in answers] == [one["predictions"][0]["confidence"] for one in wanted]
    assert len({one.best.label for one in answers}) == 3


@pytest.mark.slow
def test_photos_come_in_any_form(small_run: Path) -> None:
    from tledge import images

    model = tledge.load(small_run, "tflite-fp32")
    photo = small_run / "bundle" / "golden" / "00.jpg"
    first = model.predict(str(photo), top=2)
    assert first.image == str(photo) and len(first.predictions) == 2
    for other in (photo, photo.read_bytes(), images.decode(photo.read_bytes())[0]):
        assert model.predict(other, top=2).predictions == first.predictions


@pytest.mark.slow
def test_unreadable_photos(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a photo")
    model = tledge.load(small_run / "bundle")
    with pytest.raises(DataError, match="not an image"):
        model.predict(tmp_path / "bad.jpg")
    with pytest.raises(FileNotFoundError):
        model.predict(tmp_path / "none.jpg")
    bad, gone, good = model.predict_all(
        [tmp_path / "bad.jpg", "none.jpg", small_run / "bundle/golden/00.jpg"]
    )
    assert "not an image" in bad.error and "no such file" in gone.error and good.best.label
    with pytest.raises(DataError, match="not an image"):
        bad.best  # noqa: B018


@pytest.mark.slow(minutes=0.5)
def test_from_recipe_to_answer(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    short = {"stage.0.epochs": 2, "data.train": 300, "data.test": 60, "parity.int8_accuracy": 0.0}
    run = tledge.train(tmp_path / "small.toml", settings=short, out=tmp_path / "run")
    assert run.facts.test.images == 60 and Path(run).samefile(tmp_path / "run")
    asked = json.loads((tmp_path / "run/environment.json").read_text())["settings"]
    assert "stage.0.epochs=2" in asked
    exported = tledge.export(run, variants=["tflite-fp32"])
    assert [row.variant for row in exported.report.rows] == ["tflite-fp32"] and exported.report.passed
    assert tledge.load(exported).predict(exported.bundle.folder / "golden" / "00.jpg").best.label
    assert tledge.verify(exported).passed and tledge.verify(run).passed
    assert tledge.compare(run, exported).verdict == "same file"


@pytest.mark.slow
def test_export_makes_what_is_named(own_run: Path) -> None:
    with pytest.raises(RecipeError, match=r"variants has no variant 'tflite-int9'.*'tflite-int8'"):
        tledge.export(own_run, variants=["tflite-int9"])


@pytest.mark.slow
def test_failed_gate_raises_with_its_reason(own_run: Path) -> None:
    text = (own_run / "recipe.toml").read_text()
    (own_run / "recipe.toml").write_text(text.replace("int8_agreement = 0.9", "int8_agreement = 1.0"))
    with pytest.raises(ParityFailed, match="tflite-int8: agreement"):
        tledge.export(own_run, variants=["tflite-int8"])
    exported = tledge.export(own_run, variants=["tflite-int8"], unverified=True)
    assert not exported.report.passed and "tflite-int8" in exported.bundle.variants
    assert not tledge.verify(own_run).passed
    assert "without passing" in " ".join(tledge.load(exported).remarks)


@pytest.mark.slow
def test_damaged_bundle_raises(own_run: Path) -> None:
    path = own_run / "bundle" / "tflite-int8.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        tledge.load(own_run)


def readme_snippet() -> str:
    """The one block of Python in the README."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return str(snippet)


@pytest.mark.slow(minutes=0.5)
def test_readme_snippet_runs(tmp_path: Path, small_run: Path) -> None:
    """As it stands, but for settings that make it smaller and gates that so small a model passes."""
    import shutil

    snippet = readme_snippet()
    smaller = {
        "data.train": 600,
        "data.test": 60,
        "data.size": 64,
        "model.image_size": 48,
        "stage.0.epochs": 8,
    }
    loose = {"parity.int8_agreement": 0.0, "parity.int8_accuracy": 0.0, "parity.max_drop": 1.0}
    asked = '{"stage.0.epochs": 14}'
    assert asked in snippet
    shutil.copy(small_run / "bundle" / "golden" / "00.jpg", tmp_path / "photo.jpg")
    command = [sys.executable, "-c", snippet.replace(asked, repr({**smaller, **loose}))]
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=paths)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.fullmatch(r"(paper|rock|scissors) 0\.\d+ (True|False)\n", done.stdout)


USED = """
import tledge
run = tledge.train("recipe.toml", settings={"stage.0.epochs": 2})
exported = tledge.export(run, variants=["tflite-int8"])
model = tledge.load(exported)
answer = model.predict("photo.jpg")
text: str = answer.best.label
share: float = run.facts.test.accuracy
fine: bool = tledge.verify("bundle.zip").passed
word: str = tledge.compare("a.zip", run).verdict
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Success"),
        ("wrong: int = answer.best.label", "Incompatible types"),
        ("tledge.trian", "has no attribute"),
    ],
)
def test_types_reach_the_user(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "used.py").write_text(f"{USED}{line}\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(ROOT / ".mypy_cache/used"),
    ]
    done = subprocess.run(
        [*command, "--follow-imports=silent", "--ignore-missing-imports", str(tmp_path / "used.py")],
        capture_output=True, text=True, check=False, env={"MYPYPATH": str(ROOT)},
    )  # fmt: skip
    assert said in done.stdout, done.stdout + done.stderr
