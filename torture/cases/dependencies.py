"""Whose work it is: licences, pins, known vulnerabilities, and the bill of materials of a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from torture.support import processes
from torture.support.case import Case
from torture.support.observation import CannotRun, Observation
from torture.support.workspace import ROOT, Workspace

TOOLS = ROOT / "tools"
SBOM = "sbom.cdx.json"


def _tool(workspace: Workspace, *arguments: str) -> tuple[processes.ProcessResult, list[str]]:
    ended = processes.run([sys.executable, TOOLS / arguments[0], *arguments[1:]], workspace.env, timeout=900)
    return ended, (ended.out.strip() or ended.tail).splitlines()


def licences(workspace: Workspace) -> Observation:
    """tools/notice.py --check: NOTICE is current, every licence known, none in the way of shipping."""
    ended, lines = _tool(workspace, "notice.py", "--check")
    return Observation(
        lines[-1], tuple(lines) if ended.code else (), crashes=int(ended.crashed), peak=ended.peak
    )


def pins(workspace: Workspace) -> Observation:
    """tools/audit.py: what it says stands in the line, also that nobody could be asked."""
    ended, lines = _tool(workspace, "audit.py", "--quick")
    shortfalls = tuple(line.strip() for line in lines if line.startswith("    ")) or (ended.tail,)
    said = "; ".join(" ".join(line.split()) for line in lines if not line.startswith("    "))
    return Observation(said, shortfalls if ended.code else (), crashes=int(ended.crashed), peak=ended.peak)


def bills(workspace: Workspace) -> Observation:
    """The tiny run's bill: valid, true to the files beside it, and the same when it is bundled again."""
    run = workspace.own_run("bill")
    text = (run / "bundle" / SBOM).read_bytes()
    shortfalls = [*_invalid(text), *_untrue(run, json.loads(text))]
    before = next(run.glob("*.zip")).read_bytes()
    workspace.done("bundle", run, "--quiet")
    if (run / "bundle" / SBOM).read_bytes() != text or next(run.glob("*.zip")).read_bytes() != before:
        shortfalls.append("bundled again, the bill or the zip has other bytes")
    made = json.loads(text)["components"]
    kinds = {kind: sum(one["type"] == kind for one in made) for kind in sorted({one["type"] for one in made})}
    told = ", ".join(f"{kind} {many}" for kind, many in kinds.items())
    return Observation(f"valid CycloneDX 1.6 with {len(made)} components: {told}", tuple(shortfalls), files=1)


def _invalid(text: bytes) -> Sequence[str]:
    """What the schema has against a bill; a bill that is wrong on purpose has to be refused as well."""
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise CannotRun(f"CycloneDX's schema is not here ({error}): pip install 'tledge[dev]'") from error
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    wrong = json.loads(text) | {"specVersion": 1.6}
    noticed = validator.validate_str(json.dumps(wrong)) is not None
    found = validator.validate_str(text.decode("utf-8"))
    return [str(one)[:300] for one in (found, None if noticed else "the validator refuses nothing") if one]


def _untrue(run: Path, bill: dict[str, Any]) -> list[str]:
    """Where a bill differs from the bundle beside it, and from what the run says that it was made with."""
    parts = {one["bom-ref"]: one for one in bill["components"]}
    shortfalls = []
    for one in json.loads((run / "bundle" / "manifest.json").read_text(encoding="utf-8"))["artifacts"]:
        path = run / "bundle" / one["path"]
        listed = {each["content"] for each in parts.get(f"artifact:{one['variant']}", {}).get("hashes", ())}
        if path.is_file() and listed != {sha256(path.read_bytes()).hexdigest()}:
            shortfalls.append(f"{one['path']}: not the file of the bill")
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    for name, version in environment["installed"].items():
        if (name, version) not in {(each["name"], each.get("version")) for each in parts.values()}:
            shortfalls.append(f"{name} {version}: installed when it was trained, and not in the bill")
    for name in ("keras", "tensorflow", "numpy", "ai-edge-litert"):
        if name not in environment["installed"]:
            shortfalls.append(f"{name}: trained with, and not noted")
    return shortfalls


def parcels(workspace: Workspace) -> Observation:
    """A wheel of this checkout: LICENSE, NOTICE and LiteRT.js's licence are in it."""
    import zipfile

    out = workspace.folder("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--wheel-dir",
        str(out),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise CannotRun(f"no wheel can be built here: {done.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(out.glob("*.whl"))) as packed:
        names = packed.namelist()
    wanted = ("licenses/LICENSE", "licenses/NOTICE", "export/web/litert/LICENSE", "tledge/constraints.txt")
    lacking = [name for name in wanted if not any(one.endswith(name) for one in names)]
    return Observation(f"{len(names)} files", tuple(f"the wheel has no {name}" for name in lacking), files=1)


CASES = (
    Case("licences", "NOTICE is current, and no licence keeps a user from shipping", licences),
    Case("pins", "what is needed is pinned, agrees, and has no vulnerability that a database knows", pins),
    Case("bills of materials", "a bundle's bill is valid, true, and the same each time", bills),
    Case("wheel", "licences travel with what is installed", parcels, reduced=False),
)
