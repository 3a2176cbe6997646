"""Write `sbom.cdx.json` of a bundle: a CycloneDX 1.6 bill of materials of its content and tools.

It states only what the run's files record. It is reproducible, so it contains no time, and its serial
number is a hash of the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tledge.bundle import preview_page
from tledge.bundle.run_summary import Summary
from tledge.contract import InputSpec
from tledge.models.backbones import ADOPTED, BACKBONES, split_name
from tledge.run.records import ParityRow

NAME = "sbom.cdx.json"
Component = dict[str, Any]

_NOTE = (
    "Packages are the dependencies of tledge that were installed at training and export; "
    "whether each was used is not recorded. None of them is in the bundle."
)


def text(summary: Summary, rows: Sequence[ParityRow], folder: Path, version: str) -> str:
    """Return the bill of the bundle in `folder` with the artifacts of `rows`, made by tledge `version`."""
    models = [_artifact(summary, row, folder / Path(row.path).name) for row in rows]
    weights, runtime = list(_weights(summary)), list(_browser_runtime(folder))
    materials = [component["bom-ref"] for component in (*weights, *_data(summary))]
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [_tledge(version)]},
            "component": _bundle_component(summary),
            "properties": _properties({"note": _NOTE}),
        },
        "components": [*models, *weights, *_data(summary), *runtime, *_packages(summary, rows)],
        "dependencies": [
            {"ref": "bundle", "dependsOn": [component["bom-ref"] for component in (*models, *runtime)]},
            *({"ref": model["bom-ref"], "dependsOn": materials} for model in models),
        ],
    }
    digest = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    return json.dumps(bill, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _properties(facts: Mapping[str, object]) -> list[dict[str, str]]:
    return [{"name": f"tledge:{name}", "value": str(value)} for name, value in facts.items()]


def _tledge(version: str) -> Component:
    licenses = [{"license": {"id": "Apache-2.0"}}]
    return {"type": "application", "name": "tledge", "version": version, "licenses": licenses}


def _bundle_component(summary: Summary) -> Component:
    run = summary.run
    test = run.test
    accuracy = {
        "type": "accuracy of the Keras model",
        "slice": f"{test.images} images of the test split",
        "value": str(test.accuracy),
        "confidenceInterval": {"lowerBound": str(test.low), "upperBound": str(test.high)},
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "bundle",
        "name": run.name,
        "version": run.version,
        "description": run.description,
        "modelCard": {
            "modelParameters": _parameters(summary),
            "quantitativeAnalysis": {"performanceMetrics": [accuracy]},
        },
        "properties": _properties(
            {"seed": run.seed, "parameters": run.parameters, "model-card": "MODEL_CARD.md"}
        ),
    }


def _parameters(summary: Summary) -> dict[str, Any]:
    run = summary.run
    return {
        "approach": {"type": "supervised"},
        "task": "image classification",
        "modelArchitecture": run.backbone,
        "datasets": [{"ref": component["bom-ref"]} for component in _data(summary)],
        "inputs": [{"format": _input_format(run.input)}],
        "outputs": [{"format": f"float32[N, {len(run.labels)}]"}],
    }


def _input_format(spec: InputSpec) -> str:
    return f"{spec.dtype}[N, {spec.height}, {spec.width}, 3]"


def _artifact(summary: Summary, row: ParityRow, path: Path) -> Component:
    """Return a converted model; CycloneDX hashes single files, so a folder's hash is a property."""
    made_with = summary.artifacts[row.variant].made_with if row.variant in summary.artifacts else {}
    facts = {"file": path.name, "bytes": row.bytes, "verdict": row.verdict}
    facts |= {"provisional": "true"} if row.provisional else {}
    facts |= {f"exported-with:{name}": made_with[name] for name in ("tledge", "python") if name in made_with}
    component: Component = {
        "type": "machine-learning-model",
        "bom-ref": f"artifact:{row.variant}",
        "name": row.variant,
        "version": summary.run.version,
    }
    if path.is_dir():
        facts["folder-sha256"] = row.sha256
    else:
        component["hashes"] = [{"alg": "SHA-256", "content": row.sha256}]
    return component | {"properties": _properties(facts)}


def _weights(summary: Summary) -> Iterator[Component]:
    """Yield the pretrained weights, where training did not start from random ones."""
    if summary.recipe is None or summary.recipe.model.backbone == ADOPTED:
        return
    table = summary.recipe.model
    name, argument = split_name(table.backbone)
    row = BACKBONES[name]
    component: Component = {"type": "machine-learning-model", "bom-ref": "weights"}
    if argument:
        component |= {"name": argument, "description": "weights of the backbone, a SavedModel"}
    elif table.weights == "imagenet" and row.pretrained:
        component |= {"name": f"{name} {table.alpha:g}" if row.takes_alpha else name}
        component["description"] = "weights of the backbone, trained on ImageNet, from keras.applications"
    elif table.weights not in ("imagenet", "none"):
        component |= {"name": table.weights, "description": "weights of the backbone, a file"}
    else:
        return
    if row.licence and table.weights == "imagenet":
        yield component | {"licenses": [{"license": {"id": row.licence}}]}
    else:
        yield component | {"properties": _properties({"licence": "not known"})}


def _data(summary: Summary) -> Iterator[Component]:
    """Yield the photos that it was trained and measured on."""
    if summary.recipe is None:
        return
    data = summary.recipe.data
    facts: dict[str, object] = {}
    if "sha256" in summary.photos:
        facts["photos-sha256"] = summary.photos["sha256"]  # see `data.inspection`
    for split, counts in summary.counts.items():
        facts[f"images:{split}"] = sum(counts.values())
    component: Component = {
        "type": "data",
        "bom-ref": "data",
        "name": data.source,
        "data": [{"type": "dataset"}],
    }
    if summary.run.synthetic:
        component["description"] = "images that tledge drew itself"
    if data.licence:
        component["licenses"] = [{"license": {"name": data.licence}}]
    elif not summary.run.synthetic:
        facts["licence"] = "not stated in the recipe"
    yield component | {"properties": _properties(facts)}


def _browser_runtime(folder: Path) -> Iterator[Component]:
    """Yield LiteRT.js where the bundle has a preview, which contains it."""
    if not (folder / preview_page.NAME).is_file():
        return
    litert = preview_page.folder() / "litert"
    heading = re.match(r"# LiteRT\.js (\S+)", (litert / "README.md").read_text(encoding="utf-8"))
    assert heading, "its README begins with the version"
    version = heading[1]
    purl = f"pkg:npm/%40litertjs/core@{version}"
    files = [line.split("  ") for line in (litert / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    yield {
        "type": "library",
        "bom-ref": purl,
        "group": "@litertjs",
        "name": "core",
        "version": version,
        "purl": purl,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "description": f"LiteRT.js, inside {preview_page.NAME}",
        "components": [
            {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for digest, name in files
        ],
    }


def _packages(summary: Summary, rows: Sequence[ParityRow]) -> Iterator[Component]:
    """Yield Python and every package, in every version installed at training or export."""
    users: dict[tuple[str, str], list[str]] = {}
    for user, environment in _environments(summary, rows):
        if "python" in environment:
            for package in ("python", environment["python"]), *environment.get("packages", {}).items():
                users.setdefault(package, []).append(user)
    for (name, version), package_users in sorted(users.items()):
        properties = [{"name": "tledge:installed-for", "value": user} for user in package_users]
        yield _package(name, version) | {"properties": properties}


def _environments(summary: Summary, rows: Sequence[ParityRow]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield "training" and each export with its environment."""
    facts = summary.environment
    yield "training", {**facts, "packages": facts.get("installed", facts.get("packages", {}))}
    for row in rows:
        if row.variant in summary.artifacts:
            yield f"export of {row.variant}", summary.artifacts[row.variant].made_with


def _package(name: str, version: str) -> Component:
    """Return a package; `excluded` means in CycloneDX that it is not present at run time."""
    if name == "python":
        return {"type": "platform", "bom-ref": f"python@{version}", "name": "Python", "version": version,
                "scope": "excluded"}  # fmt: skip
    purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{quote(version, safe='.-_~')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "scope": "excluded"}  # fmt: skip
