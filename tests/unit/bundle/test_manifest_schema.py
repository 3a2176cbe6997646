"""`export/manifest.schema.json` says of `manifest.json` what `tledge.contract` does, no more and no less."""

from __future__ import annotations

import copy
import json
import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tledge._io import resources
from tledge.bundle import manifest as bundle_manifest
from tledge.bundle.manifest import (
    MANIFEST_VERSION,
    PROVISIONAL_KEYS,
    Expected,
    GoldenCase,
    Manifest,
    Shipped,
    Unsupported,
)
from tledge.contract import AbstentionPolicy, InputSpec
from tledge.errors import ArtifactError

SCHEMA: dict[str, Any] = json.loads((resources.folder("export") / "manifest.schema.json").read_text("utf-8"))

PARTS: dict[str, tuple[type, dict[str, Any]]] = {
    "manifest": (Manifest, SCHEMA),
    "input": (InputSpec, SCHEMA["$defs"]["input"]),
    "artifact": (Shipped, SCHEMA["$defs"]["artifact"]),
    "expected": (Expected, SCHEMA["$defs"]["expected"]),
    "unsupported": (Unsupported, SCHEMA["$defs"]["unsupported"]),
    "golden": (GoldenCase, SCHEMA["$defs"]["golden"]),
    "confidence": (AbstentionPolicy, SCHEMA["$defs"]["confidence"]),
}

JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


@pytest.fixture(scope="module")
def manifest(shared_bundle: Path) -> dict[str, Any]:
    """A manifest that tledge wrote, with every part filled."""
    made = dict(json.loads((shared_bundle / "manifest.json").read_text(encoding="utf-8")))
    made["artifacts"][0]["unsupported"] = [{"kernels": "reference", "reason": "It crashed."}]
    return made


def examples(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The object in a manifest for every part."""
    artifact = manifest["artifacts"][0]
    return {
        "manifest": manifest,
        "input": manifest["input"],
        "artifact": artifact,
        "expected": artifact["expected"][0],
        "unsupported": artifact["unsupported"][0],
        "golden": manifest["golden"][0],
        "confidence": manifest["confidence"],
    }


@pytest.mark.parametrize("part", PARTS)
def test_names_every_field_and_no_other(part: str) -> None:
    made, schema = PARTS[part]
    assert sorted(schema["properties"]) == sorted(field.name for field in fields(made))
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("part", PARTS)
def test_types_are_those_of_the_fields(part: str) -> None:
    made, schema = PARTS[part]
    hints = typing.get_type_hints(made)
    wrong = {name: one for name, one in schema["properties"].items() if not fits(hints[name], one)}
    assert wrong == {}


def fits(hint: Any, schema: dict[str, Any]) -> bool:
    """Whether a property's schema takes what a field's annotation does."""
    if "const" in schema:
        return type(schema["const"]) is hint
    if "enum" in schema:
        return {type(one) for one in schema["enum"]} == {hint}
    if "$ref" in schema:
        return PARTS[schema["$ref"].rsplit("/", 1)[-1]][0] is hint
    if "anyOf" in schema:
        first, null = schema["anyOf"]
        return (
            null == {"type": "null"} and isinstance(hint, types.UnionType) and fits(hint.__args__[0], first)
        )
    if schema["type"] == "array":
        return typing.get_origin(hint) is tuple and fits(hint.__args__[0], schema["items"])
    if isinstance(schema["type"], list):
        inner, none = typing.get_args(hint)
        return none is type(None) and schema["type"] == [JSON_TYPES[inner], "null"]
    return schema["type"] == JSON_TYPES.get(hint)


def test_other_types_are_caught() -> None:
    """The comparison above can fail."""
    assert not fits(int, {"type": "string"}) and not fits(float | None, {"type": "number"})
    assert not fits(Shipped, {"$ref": "#/$defs/input"}) and not fits(str, {"const": 3})


@pytest.mark.parametrize("part", PARTS)
def test_required_is_what_reading_needs(part: str, manifest: dict[str, Any]) -> None:
    """Left out, a required field stops tledge, and another does not."""
    for name in PARTS[part][1]["properties"]:
        raw = copy.deepcopy(manifest)
        examples(raw)[part].pop(name, None)
        try:
            bundle_manifest.parse_manifest(json.dumps(raw).encode(), "here")
        except ArtifactError:
            assert name in PARTS[part][1]["required"]
        else:
            assert name not in PARTS[part][1]["required"]


def test_everything_is_described() -> None:
    for _made, schema in PARTS.values():
        for one in (schema, *schema["properties"].values()):
            assert "$ref" in one or one["description"].endswith("."), one
    assert set(PARTS) - {"manifest"} == set(SCHEMA["$defs"])


def test_version_is_the_one_that_is_written() -> None:
    assert SCHEMA["properties"]["manifest_version"]["const"] == MANIFEST_VERSION
    assert SCHEMA["$id"] == f"urn:tledge:manifest:{MANIFEST_VERSION}"


def test_constants_are_what_is_written(manifest: dict[str, Any]) -> None:
    for part, raw in examples(manifest).items():
        for name, schema in PARTS[part][1]["properties"].items():
            left_out = (("input", "pixel_range"), ("confidence", "reason"))  # left out by default
            if (part, name) in left_out or name in PROVISIONAL_KEYS:
                continue
            assert raw[name] == schema.get("const", raw[name])
            assert raw[name] in schema.get("enum", [raw[name]])


FAULTS: list[tuple[str, str, Any]] = [
    ("manifest", "manifest_version", 2),
    ("manifest", "labels", ["a", "a"]),
    ("manifest", "labels", []),
    ("manifest", "synthetic", "no"),
    ("manifest", "confidence", {}),
    ("manifest", "surprise", 1),
    ("input", "color", "BGR"),
    ("input", "height", 0),
    ("artifact", "sha256", "AB" * 32),
    ("artifact", "path", "/etc/passwd"),
    ("artifact", "path", "a//b"),
    ("artifact", "verdict", "fine"),
    ("artifact", "accuracy", 1.5),
    ("expected", "tolerance", -1),
    ("golden", "tensor", -1),
    ("golden", "label", None),
    ("confidence", "temperature", 0),
    ("confidence", "threshold", 1.1),
]
"""Part, field, and a value that no manifest has."""


def test_validator_takes_real_manifests(manifest: dict[str, Any]) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(SCHEMA)
    validator(SCHEMA).validate(manifest)
    earlier = {name: one for name, one in manifest.items() if name in SCHEMA["required"]}
    validator(SCHEMA).validate(earlier)


@pytest.mark.parametrize(("part", "field", "value"), FAULTS)
def test_validator_refuses_faults(manifest: dict[str, Any], part: str, field: str, value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    raw = copy.deepcopy(manifest)
    examples(raw)[part][field] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(raw)
