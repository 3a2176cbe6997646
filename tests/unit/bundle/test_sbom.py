"""`sbom.cdx.json` of a bundle: valid CycloneDX, true to the bundle, the same each time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tledge._io import files as io_files
from tledge.bundle import build as stage
from tledge.bundle import preview_page, reader, run_summary, sbom
from tledge.bundle.run_summary import Summary
from tledge.run.folder import RunFolder

pytest.importorskip("jinja2")

MADE_WITH = {"tledge": "0.1.0", "python": "3.12.1", "packages": {"onnx": "1.23.2", "numpy": "2.4.6+local"}}


@pytest.fixture(scope="module")
def run(shared_report_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose ONNX file was exported with packages that are known; do not change it."""
    made = Path(shutil.copytree(shared_report_run, tmp_path_factory.mktemp("sbom") / "tiny"))
    path = made / "artifacts" / "onnx-fp32.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "made_with": MADE_WITH}))
    return made


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    return stage.bundle(RunFolder(run)).folder


@pytest.fixture(scope="module")
def bill(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / sbom.NAME).read_text(encoding="utf-8")))


def fault(text: str) -> str:
    """What CycloneDX's own schema for 1.6 has against a bill, strictly; "" where nothing."""
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    found = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text)
    return "" if found is None else str(found)


def components(bill: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {one["bom-ref"]: one for one in bill["components"] if one["type"] == kind}


def properties(component: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["name"], one["value"]) for one in component.get("properties", ())]


def written(run: Path, tmp_path: Path, edit: Callable[[Summary], Summary]) -> dict[str, Any]:
    """The bill of a run that is other than it was, into a bundle without a preview."""
    known = edit(run_summary.read(RunFolder(run)))
    assert known.parity
    text = sbom.text(known, known.parity.rows, tmp_path, "0.1.0")
    assert fault(text) == ""
    return dict(json.loads(text))


def test_bill_is_valid_and_in_the_manifest(bundle: Path) -> None:
    assert fault((bundle / sbom.NAME).read_text(encoding="utf-8")) == ""
    assert reader.open_bundle(bundle).manifest.sbom == sbom.NAME
    assert f"  {sbom.NAME}\n" in (bundle / "SHA256SUMS").read_text()
    assert all(sbom.NAME in (bundle / name).read_text() for name in ("README.md", "MODEL_CARD.md"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda bill: bill["components"][0].update(type="model"),
        lambda bill: bill["components"][0].update(hashes=[{"alg": "SHA-256", "content": "short"}]),
        lambda bill: bill.update(serialNumber="1"),
        lambda bill: bill.update(surprise=1),
        lambda bill: bill["components"].append(bill["components"][0]),
    ],
)
def test_an_invalid_bill_is_noticed(bill: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> None:
    own = json.loads(json.dumps(bill))
    edit(own)
    assert fault(json.dumps(own)) != ""


def test_models_bear_the_hashes_of_their_files(bundle: Path, bill: dict[str, Any]) -> None:
    models = components(bill, "machine-learning-model")
    shipped = reader.open_bundle(bundle).manifest.artifacts
    assert set(models) == {f"artifact:{one.variant}" for one in shipped} and len(shipped) > 1
    for one in shipped:
        (hashed,) = models[f"artifact:{one.variant}"]["hashes"]
        assert hashed == {"alg": "SHA-256", "content": io_files.sha256(bundle / one.path)}


def test_folder_of_a_model_bears_no_file_hash(run: Path, tmp_path: Path) -> None:
    (tmp_path / "tflite-fp32.tflite").mkdir()
    found = written(run, tmp_path, lambda known: known)
    folder = components(found, "machine-learning-model")["artifact:tflite-fp32"]
    assert "hashes" not in folder and "tledge:folder-sha256" in dict(properties(folder))


def test_packages_stand_with_who_had_them(bill: dict[str, Any]) -> None:
    found = components(bill, "library") | components(bill, "platform")
    users = {ref: [value for _name, value in properties(one)] for ref, one in found.items()}
    assert users["pkg:pypi/onnx@1.23.2"] == ["export of onnx-fp32"]
    assert users["pkg:pypi/keras@3.15.1"] == ["training"]
    assert users["pkg:pypi/numpy@2.4.6%2Blocal"] == ["export of onnx-fp32"]  # as a purl writes a plus
    assert users["pkg:pypi/numpy@2.4.6"] == ["training"]
    assert users["python@3.12.1"] == ["export of onnx-fp32"]
    assert all(one["scope"] == "excluded" for ref, one in found.items() if "npm" not in ref)


def test_runner_of_the_preview_is_listed(bundle: Path, bill: dict[str, Any]) -> None:
    (runner,) = (one for ref, one in components(bill, "library").items() if ref.startswith("pkg:npm"))
    assert runner["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    files = {one["name"]: one["hashes"][0]["content"] for one in runner["components"]}
    assert files["litert.js"] == io_files.sha256(preview_page.folder() / "litert" / "litert.js")
    assert "Apache License" in (bundle / preview_page.NAME).read_text(encoding="utf-8")


def test_bundle_without_preview_lists_no_runner(run: Path, tmp_path: Path) -> None:
    found = written(run, tmp_path, lambda known: known)
    assert not any("npm" in ref for ref in components(found, "library"))


def test_data_bears_licence_counts_and_hash(run: Path, bill: dict[str, Any]) -> None:
    data = components(bill, "data")["data"]
    assert data["licenses"] == [{"license": {"name": "CC BY 2.0"}}]
    facts = dict(properties(data))
    known = json.loads((run / "evidence" / "photos.json").read_text())
    assert facts["tledge:photos-sha256"] == known["sha256"] and re.fullmatch(r"\w{64}", known["sha256"])
    assert facts["tledge:images:train"] == str(sum(known["counts"]["train"].values()))


def with_model(known: Summary, **changes: Any) -> Summary:
    assert known.recipe
    return replace(known, recipe=replace(known.recipe, model=replace(known.recipe.model, **changes)))


@pytest.mark.parametrize(
    ("changes", "name", "licence"),
    [
        ({"backbone": "mobilenetv2", "weights": "imagenet", "alpha": 0.35}, "mobilenetv2 0.35", "Apache-2.0"),
        ({"backbone": "vgg16", "weights": "imagenet"}, "vgg16", "CC-BY-4.0"),
        ({"backbone": "resnet50v2", "weights": "imagenet"}, "resnet50v2", None),
        ({"backbone": "hub:some/module", "weights": "imagenet"}, "some/module", None),
        ({"backbone": "mobilenetv2", "weights": "mine.weights.h5"}, "mine.weights.h5", None),
    ],
)
def test_weights_bear_their_licence_where_known(
    run: Path, tmp_path: Path, changes: dict[str, Any], name: str, licence: str | None
) -> None:
    found = written(run, tmp_path, lambda known: with_model(known, **changes))
    weights = components(found, "machine-learning-model")["weights"]
    assert weights["name"] == name
    told = [one["license"]["id"] for one in weights.get("licenses", ())]
    assert told == ([licence] if licence else [])
    assert (("tledge:licence", "not known") in properties(weights)) is (licence is None)
    assert "weights" in found["dependencies"][1]["dependsOn"]


def test_weights_of_chance_are_none(bill: dict[str, Any]) -> None:
    assert "weights" not in components(bill, "machine-learning-model")


def test_same_run_same_bill(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "elsewhere"))
    first, again = stage.bundle(RunFolder(run)), stage.bundle(RunFolder(own))
    assert (first.folder / sbom.NAME).read_bytes() == (again.folder / sbom.NAME).read_bytes()
    assert first.sha256 == again.sha256


def test_other_bundle_other_serial_number(run: Path, tmp_path: Path, bill: dict[str, Any]) -> None:
    other = written(run, tmp_path, lambda known: replace(known, run=replace(known.run, version="2")))
    assert other["serialNumber"] != bill["serialNumber"]


def test_run_of_an_earlier_version_has_a_bill(run: Path, tmp_path: Path) -> None:
    bare = written(
        run, tmp_path, lambda known: replace(known, recipe=None, environment={}, photos={}, artifacts={})
    )
    assert set(components(bare, "library")) == set(components(bare, "data")) == set()
