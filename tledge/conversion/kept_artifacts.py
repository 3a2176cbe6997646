"""Tell whether an artifact is what a conversion would make again: the same inputs, and an intact file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tledge.environment import packages
from tledge.errors import RunError
from tledge.formats.jobs import ConversionJob, job_to_json
from tledge.run.folder import UNCORRECTED, RunFolder
from tledge.run.records import Artifact

READ = ("calibration_images", "selection_images", "ranges")
"""Fields of a job that name a file which the conversion reads, beside `target.model`."""

UNCORRECTED_SHA256 = "uncorrected_sha256"
"""Key in an artifact's details: hash of the file under `UNCORRECTED`."""


def inputs_of(folder: RunFolder, name: str, job: ConversionJob) -> dict[str, Any]:
    """Return what decides the bytes of an artifact, for its JSON file.

    These are the job with a hash in place of every file that is read, without the paths that are written,
    and the variant that was asked for, which a repair may have left for another.
    """
    fields: dict[str, Any] = json.loads(json.dumps(job_to_json(job)))
    target = fields["target"]
    target["model"] = _hash(folder, target["model"])
    del target["out"]
    fields |= {key: _hash(folder, fields[key]) for key in READ if key in fields}
    if UNCORRECTED in fields:
        fields[UNCORRECTED] = fields[UNCORRECTED] is not None
    return {"variant": name, **fields}


def _hash(folder: RunFolder, path: str) -> str:
    """Hash a file that a job names; "" where it is missing, which the conversion reports."""
    place = Path(path)
    return folder.sha256(folder.path / place.relative_to(folder.path.resolve())) if place.is_file() else ""


def find(folder: RunFolder, inputs: dict[str, Any]) -> Artifact | None:
    """Return the artifact that was made from these inputs, by these versions; None where there is none.

    Its file, and that of its conversion without bias correction, must still have the hashes of the record.
    """
    versions = packages.made_with()
    if not versions["packages"]:  # tledge is not installed: which converters these are is unknown
        return None
    for artifact in _recorded(folder):
        if artifact.inputs == inputs and artifact.made_with == versions and _is_intact(folder, artifact):
            return artifact
    return None


def _recorded(folder: RunFolder) -> list[Artifact]:
    try:
        return folder.read_artifacts()
    except RunError:  # a damaged record: it is written anew
        return []


def _is_intact(folder: RunFolder, artifact: Artifact) -> bool:
    hashes = {artifact.path: artifact.sha256}
    if UNCORRECTED in artifact.details:
        hashes[artifact.details[UNCORRECTED]] = artifact.details.get(UNCORRECTED_SHA256, "")
    paths = {folder.member(name): digest for name, digest in hashes.items()}
    return all(path.exists() and folder.sha256(path) == digest for path, digest in paths.items())
