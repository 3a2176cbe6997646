"""`sbom.cdx.json` of a bundle: a CycloneDX 1.6 bill of materials of what it holds and what made it.

It states what the run's files say and nothing else; equal runs give equal bytes, so it bears no time,
and its serial number is a hash of the rest.
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
from tledge.models.backbones import BACKBONES, split_name
from tledge.run.records import ParityRow

NAME = "sbom.cdx.json"
Component = dict[str, Any]

_NOTE = (
    "Packages are those that were installed where it was trained and exported, of all that tledge asks for; "
    "that each was used is not recorded. None of them is in the bundle."
)


def text(known: Summary, rows: Sequence[ParityRow], made: Path, version: str) -> str:
    """The bill of the bundle in the folder `made` with the artifacts of `rows`, by tledge `version`."""
    models = [_artifact(known, row, made / Path(row.path).name) for row in rows]
    weights, runner = list(_weights(known)), list(_runner(made))
    inside = [one["bom-ref"] for one in (*weights, *_data(known))]
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [_tledge(version)]},
            "component": _whole(known),
            "properties": _properties({"note": _NOTE}),
        },
        "components": [*models, *weights, *_data(known), *runner, *_packages(known, rows)],
        "dependencies": [
            {"ref": "bundle", "dependsOn": [one["bom-ref"] for one in (*models, *runner)]},
            *({"ref": one["bom-ref"], "dependsOn": inside} for one in models),
        ],
    }
    digest = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    return json.dumps(bill, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _properties(facts: Mapping[str, object]) -> list[dict[str, str]]:
    return [{"name": f"tledge:{name}", "value": str(value)} for name, value in facts.items()]


def _tledge(version: str) -> Component:
    known = [{"license": {"id": "Apache-2.0"}}]
    return {"type": "application", "name": "tledge", "version": version, "licenses": known}


def _whole(known: Summary) -> Component:
    run = known.run
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
            "modelParameters": _parameters(known),
            "quantitativeAnalysis": {"performanceMetrics": [accuracy]},
        },
        "properties": _properties(
            {"seed": run.seed, "parameters": run.parameters, "model-card": "MODEL_CARD.md"}
        ),
    }


def _parameters(known: Summary) -> dict[str, Any]:
    run = known.run
    return {
        "approach": {"type": "supervised"},
        "task": "image classification",
        "modelArchitecture": run.backbone,
        "datasets": [{"ref": one["bom-ref"]} for one in _data(known)],
        "inputs": [{"format": _shape(run.input)}],
        "outputs": [{"format": f"float32[N, {len(run.labels)}]"}],
    }


def _shape(taken: InputSpec) -> str:
    return f"{taken.dtype}[N, {taken.height}, {taken.width}, 3]"


def _artifact(known: Summary, row: ParityRow, path: Path) -> Component:
    """A converted model; CycloneDX's hashes are of one file, so that of a folder is a property."""
    made = known.artifacts[row.variant].made_with if row.variant in known.artifacts else {}
    facts = {"file": path.name, "bytes": row.bytes, "verdict": row.verdict}
    facts |= {f"exported-with:{name}": made[name] for name in ("tledge", "python") if name in made}
    found: Component = {
        "type": "machine-learning-model",
        "bom-ref": f"artifact:{row.variant}",
        "name": row.variant,
        "version": known.run.version,
    }
    if path.is_dir():
        facts["folder-sha256"] = row.sha256
    else:
        found["hashes"] = [{"alg": "SHA-256", "content": row.sha256}]
    return found | {"properties": _properties(facts)}


def _weights(known: Summary) -> Iterator[Component]:
    """What training began with, where it was not chance."""
    if known.recipe is None:
        return
    table = known.recipe.model
    name, argument = split_name(table.backbone)
    row = BACKBONES[name]
    found: Component = {"type": "machine-learning-model", "bom-ref": "weights"}
    if argument:
        found |= {"name": argument, "description": "weights of the backbone, a SavedModel"}
    elif table.weights == "imagenet" and row.pretrained:
        found |= {"name": f"{name} {table.alpha:g}" if row.takes_alpha else name}
        found["description"] = "weights of the backbone, trained on ImageNet, from keras.applications"
    elif table.weights not in ("imagenet", "none"):
        found |= {"name": table.weights, "description": "weights of the backbone, a file"}
    else:
        return
    if row.licence and table.weights == "imagenet":
        yield found | {"licenses": [{"license": {"id": row.licence}}]}
    else:
        yield found | {"properties": _properties({"licence": "not known"})}


def _data(known: Summary) -> Iterator[Component]:
    """What it was trained and measured on."""
    if known.recipe is None:
        return
    data = known.recipe.data
    facts: dict[str, object] = {}
    if "sha256" in known.photos:
        facts["photos-sha256"] = known.photos["sha256"]  # see `inventory`
    for split, counts in known.counts.items():
        facts[f"images:{split}"] = sum(counts.values())
    found: Component = {"type": "data", "bom-ref": "data", "name": data.source, "data": [{"type": "dataset"}]}
    if known.run.synthetic:
        found["description"] = "images that tledge drew itself"
    if data.licence:
        found["licenses"] = [{"license": {"name": data.licence}}]
    elif not known.run.synthetic:
        facts["licence"] = "not stated in the recipe"
    yield found | {"properties": _properties(facts)}


def _runner(made: Path) -> Iterator[Component]:
    """LiteRT.js, which is part of the preview."""
    if not (made / preview_page.NAME).is_file():
        return
    folder = preview_page.folder() / "litert"
    named = re.match(r"# LiteRT\.js (\S+)", (folder / "README.md").read_text(encoding="utf-8"))
    assert named, "its README begins with the version"
    purl = f"pkg:npm/%40litertjs/core@{named[1]}"
    files = [line.split("  ") for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    yield {
        "type": "library",
        "bom-ref": purl,
        "group": "@litertjs",
        "name": "core",
        "version": named[1],
        "purl": purl,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "description": f"LiteRT.js, inside {preview_page.NAME}",
        "components": [
            {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for digest, name in files
        ],
    }


def _packages(known: Summary, rows: Sequence[ParityRow]) -> Iterator[Component]:
    """Python and every package in every version that training or an export had at hand."""
    users: dict[tuple[str, str], list[str]] = {}
    for user, made in _makers(known, rows):
        here = {"python": made["python"], **made.get("packages", {})} if "python" in made else {}
        for name, version in here.items():
            users.setdefault((name, version), []).append(user)
    for (name, version), used in sorted(users.items()):
        yield _package(name, version) | {"properties": [
            {"name": "tledge:installed-for", "value": user} for user in used
        ]}  # fmt: skip


def _makers(known: Summary, rows: Sequence[ParityRow]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    facts = known.environment
    yield "training", {**facts, "packages": facts.get("installed", facts.get("packages", {}))}
    for row in rows:
        if row.variant in known.artifacts:
            yield f"export of {row.variant}", known.artifacts[row.variant].made_with


def _package(name: str, version: str) -> Component:
    """`excluded` is CycloneDX's word for what is not there at run time."""
    if name == "python":
        return {"type": "platform", "bom-ref": f"python@{version}", "name": "Python", "version": version,
                "scope": "excluded"}  # fmt: skip
    purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{quote(version, safe='.-_~')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "scope": "excluded"}  # fmt: skip
