"""The names of `import tledge` do what the commands do, on the small run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tledge
from tests.helpers.command_line import Cli
from tests.helpers.paths import ROOT
from tests.helpers.readme import readme_snippet
from tests.helpers.small_run import SMALL, zip_of
from tledge.errors import ArtifactError, DataError, ParityFailed, RecipeError


def test_predict_answers_as_the_command(small_run: Path, cli: Cli) -> None:
    bundle = zip_of(small_run)
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


def test_photos_come_in_any_form(small_run: Path) -> None:
    from tledge.preprocessing import image

    model = tledge.load(small_run, "tflite-fp32")
    photo = small_run / "bundle" / "golden" / "00.jpg"
    first = model.predict(str(photo), top=2)
    assert first.image == str(photo) and len(first.predictions) == 2
    for other in (photo, photo.read_bytes(), image.decode(photo.read_bytes())[0]):
        assert model.predict(other, top=2).predictions == first.predictions


def test_unreadable_photos(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a photo")
    model = tledge.load(small_run / "bundle")
    with pytest.raises(DataError, match="not an image"):
        model.predict(tmp_path / "bad.jpg")
    with pytest.raises(DataError, match=r"none\.jpg: no such file"):
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


def test_export_makes_what_is_named(own_run: Path) -> None:
    with pytest.raises(RecipeError, match=r"variants has no variant 'tflite-int9'.*'tflite-int8'"):
        tledge.export(own_run, variants=["tflite-int9"])


def test_failed_gate_raises_with_its_reason(own_run: Path) -> None:
    text = (own_run / "recipe.toml").read_text()
    (own_run / "recipe.toml").write_text(text.replace("int8_agreement = 0.9", "int8_agreement = 1.0"))
    with pytest.raises(ParityFailed, match="tflite-int8: agrees with Keras on"):
        tledge.export(own_run, variants=["tflite-int8"])
    exported = tledge.export(own_run, variants=["tflite-int8"], unverified=True)
    assert not exported.report.passed and "tflite-int8" in exported.bundle.variants
    assert not tledge.verify(own_run).passed
    assert "without passing" in " ".join(tledge.load(exported).remarks)


def test_damaged_bundle_raises(own_run: Path) -> None:
    path = own_run / "bundle" / "tflite-int8.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        tledge.load(own_run)


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
from pathlib import Path

import numpy as np
from PIL import Image

import tledge

run = tledge.train("recipe.toml", settings={"stage.0.epochs": 2})
exported = tledge.export(run, variants=["tflite-int8"])
model = tledge.load(exported)
answer = model.predict("photo.jpg")
text: str = answer.best.label
share: float = run.facts.test.accuracy
fine: bool = tledge.verify("bundle.zip").passed
word: str = tledge.compare("a.zip", run).verdict

image = Image.open("photo.jpg")
for photo in (Path("photo.jpg"), b"", bytearray(), image, np.zeros((2, 2, 3), np.uint8), np.asarray(image)):
    model.predict(photo)
    model.predict_all([photo], top=np.int64(2))
model.predict_all(Path("photos").glob("*.jpg"))
model.predict_all(np.zeros((5, 2, 2, 3), np.uint8))
settings = {"data.source": Path("photos"), "stage.0": {"epochs": np.int64(2)}, "model.head": [8, 4]}
tledge.train(Path("recipe.toml"), settings=settings, out=Path("run"))
tledge.train("recipe.toml", settings=(f"stage.0.epochs={count}" for count in (1,)))
tledge.export(run, (name for name in ("tflite-int8",)), sign=Path("key.pem"))
tledge.compare(Path("a.zip"), exported, variants={"tflite-int8"})

several: list[tledge.Answer] = model.predict([image, "photo.jpg", b""])
model.predict(None)  # type: ignore[call-overload]
model.predict(3)  # type: ignore[call-overload]
model.predict(image, top=1.5)  # type: ignore[call-overload]
model.predict_all(Path("photos"))  # type: ignore[arg-type]
tledge.train("recipe.toml", resume="no")  # type: ignore[arg-type]
tledge.train("recipe.toml", settings=3)  # type: ignore[arg-type]
tledge.export(run, variants=[1])  # type: ignore[list-item]
tledge.load("bundle", key=b"key")  # type: ignore[arg-type]
"""
"""A program of a user: what is taken, and what mypy refuses (an ignore without an error is one)."""


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
