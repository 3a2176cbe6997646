"""Dependencies: licences, pins, known vulnerabilities, and the bill of materials of a bundle."""

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


def _run_tool(workspace: Workspace, *arguments: str) -> tuple[processes.ProcessResult, list[str]]:
    result = processes.run([sys.executable, TOOLS / arguments[0], *arguments[1:]], workspace.env, timeout=900)
    return result, (result.out.strip() or result.tail).splitlines()


def licences(workspace: Workspace) -> Observation:
    """Run tools/notice.py --check: NOTICE is current, every licence known, none in the way of shipping."""
    result, lines = _run_tool(workspace, "notice.py", "--check")
    return Observation(
        lines[-1], tuple(lines) if result.code else (), crashes=int(result.crashed), peak=result.peak
    )


def pins(workspace: Workspace) -> Observation:
    """Run tools/audit.py: its lines become the summary, also where no database could be asked."""
    result, lines = _run_tool(workspace, "audit.py", "--quick")
    shortfalls = tuple(line.strip() for line in lines if line.startswith("    ")) or (result.tail,)
    summary = "; ".join(" ".join(line.split()) for line in lines if not line.startswith("    "))
    return Observation(
        summary, shortfalls if result.code else (), crashes=int(result.crashed), peak=result.peak
    )


def bills_of_materials(workspace: Workspace) -> Observation:
    """Check the tiny run's bill: valid, true to the files beside it, the same when it is bundled again."""
    run = workspace.own_run("bill")
    text = (run / "bundle" / SBOM).read_bytes()
    shortfalls = [*_schema_faults(text), *_content_faults(run, json.loads(text))]
    before = next(run.glob("*.zip")).read_bytes()
    workspace.run_successfully("bundle", run, "--quiet")
    if (run / "bundle" / SBOM).read_bytes() != text or next(run.glob("*.zip")).read_bytes() != before:
        shortfalls.append("bundled again, the bill or the zip has other bytes")
    components = json.loads(text)["components"]
    kinds = {
        kind: sum(component["type"] == kind for component in components)
        for kind in sorted({component["type"] for component in components})
    }
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    return Observation(
        f"valid CycloneDX 1.6 with {len(components)} components: {counts}", tuple(shortfalls), files=1
    )


def _schema_faults(text: bytes) -> Sequence[str]:
    """Validate a bill against the schema; a bill that is wrong on purpose has to be refused as well."""
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise CannotRun(f"CycloneDX's schema is not here ({error}): pip install 'tledge[dev]'") from error
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    invalid = json.loads(text) | {"specVersion": 1.6}
    noticed = validator.validate_str(json.dumps(invalid)) is not None
    fault = validator.validate_str(text.decode("utf-8"))
    return [
        str(error)[:300] for error in (fault, None if noticed else "the validator refuses nothing") if error
    ]


def _content_faults(run: Path, bill: dict[str, Any]) -> list[str]:
    """List where a bill differs from its bundle, and from what the run says that it was made with."""
    parts = {component["bom-ref"]: component for component in bill["components"]}
    shortfalls = []
    for artifact in json.loads((run / "bundle" / "manifest.json").read_text(encoding="utf-8"))["artifacts"]:
        path = run / "bundle" / artifact["path"]
        listed = {
            digest["content"] for digest in parts.get(f"artifact:{artifact['variant']}", {}).get("hashes", ())
        }
        if path.is_file() and listed != {sha256(path.read_bytes()).hexdigest()}:
            shortfalls.append(f"{artifact['path']}: not the file of the bill")
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    for name, version in environment["installed"].items():
        if (name, version) not in {
            (component["name"], component.get("version")) for component in parts.values()
        }:
            shortfalls.append(f"{name} {version}: installed when it was trained, and not in the bill")
    for name in ("keras", "tensorflow", "numpy", "ai-edge-litert"):
        if name not in environment["installed"]:
            shortfalls.append(f"{name}: trained with, and not noted")
    return shortfalls


def wheel_contents(workspace: Workspace) -> Observation:
    """Build a wheel of this checkout: LICENSE, NOTICE and LiteRT.js's licence are in it."""
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
    build = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if build.returncode:
        raise CannotRun(f"no wheel can be built here: {build.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(out.glob("*.whl"))) as packed:
        names = packed.namelist()
    wanted = ("licenses/LICENSE", "licenses/NOTICE", "export/web/litert/LICENSE", "tledge/constraints.txt")
    lacking = [name for name in wanted if not any(name.endswith(name) for name in names)]
    return Observation(f"{len(names)} files", tuple(f"the wheel has no {name}" for name in lacking), files=1)


CASES = (
    Case("licences", "NOTICE is current, and no licence keeps a user from shipping", licences),
    Case("pins", "what is needed is pinned, agrees, and has no vulnerability that a database knows", pins),
    Case("bills of materials", "a bundle's bill is valid, true, and the same each time", bills_of_materials),
    Case("wheel", "licences travel with what is installed", wheel_contents, reduced=False),
)
