"""What can be said of the pinned packages: are they all there, do they agree, is any known to be vulnerable.

python tools/audit.py [--quick] [--strict], or `make audit`. Vulnerabilities are looked up by pip-audit. An
index that holds packages need not hold that database, and then pip-audit finds nothing and says so in
words of success. So it is first asked for a version that is known to be vulnerable; where it does not
know that one either, nothing was checked, and that is what is said.

Ends with 1 where something is wrong, with --strict also where nobody could be asked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's tledge

from packaging.requirements import Requirement

from tledge._io.resources import package_key
from tledge.environment import packages

PINS = ROOT / "constraints.txt"
CANARY = "Jinja2==2.11.2"
"""A release with known vulnerabilities (CVE-2020-28493 is one): a database that knows none of it is none."""

SERVICES = ("pypi", "osv")
INSTALLERS = {"pip", "setuptools"}
"""What installs the rest comes with Python's venv, and is not pinned."""

ELSEWHERE = "nvidia-"
"""Packages of the `gpu` extra, which need not be installed here."""

PATIENCE = 300.0
SHOWN = 12


@dataclass(frozen=True)
class Said:
    """A line on one question, and what is wrong; `asked` is False where nobody could be asked."""

    line: str
    wrong: tuple[str, ...] = ()
    asked: bool = True


def pins(lines: Sequence[str], needed: dict[str, str]) -> Said:
    """Whether constraints.txt pins exactly what is `needed`, at the versions that are installed."""
    plain = [line for line in lines if line and not line.startswith("#")]
    wrong = [f"{line}: expected name==version" for line in plain if line.count("==") != 1 or " " in line]
    pinned = {package_key(name): version for name, _, version in (line.partition("==") for line in plain)}
    if len(pinned) < len(plain):
        wrong.append("constraints.txt names a package twice")
    wrong += [f"{name}: needed, and not pinned" for name in needed if name not in {*pinned, *INSTALLERS}]
    for name, version in pinned.items():
        if name.startswith(ELSEWHERE):
            continue
        if name not in needed:
            wrong.append(f"{name}: pinned, and nothing that is installed needs it")
        elif needed[name] != version:
            wrong.append(f"{name}: {version} is pinned, {needed[name]} is installed")
    aside = sorted(INSTALLERS & set(needed))
    return Said(f"{len(plain)} packages, {len(needed)} needed and installed here; by intent not pinned: "
                f"{', '.join(aside) or 'none'}", tuple(wrong))  # fmt: skip


def needed() -> dict[str, str]:
    """Versions of all that tledge and any extra of it asks for, as far as it is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(one for some in project["optional-dependencies"].values() for one in some),
    ]
    return packages.closure(map(Requirement, lines))


def agreement() -> Said:
    """Return what `pip check` says."""
    done = _python("-m", "pip", "check", "--disable-pip-version-check")
    found = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return Said(found[-1] if found else "no output", tuple(found) if done.returncode else ())


def advisories(requirements: Path) -> Said:
    """Known vulnerabilities of the packages in a requirements file, from the first service that knows any."""
    reasons = []
    for service in SERVICES:
        if reason := _unfit(service):
            reasons.append(f"{service}: {reason}")
            continue
        report = _pip_audit(service, requirements)
        if isinstance(report, dict):
            return _told(service, report)
        reasons.append(f"{service}: {report}")
    return Said(
        f"NOT CHECKED: no database of vulnerabilities answers here ({'; '.join(reasons)})", asked=False
    )


def _unfit(service: str) -> str:
    """Why a service is no witness: it cannot be reached, or does not know what is known."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "canary.txt"
        path.write_text(CANARY + "\n", encoding="utf-8")
        report = _pip_audit(service, path)
    if isinstance(report, str):
        return report
    (known,) = report["dependencies"]
    if known.get("vulns"):
        return ""
    return str(known.get("skip_reason") or f"it knows of no vulnerability of {CANARY}, which has some")


def _pip_audit(service: str, requirements: Path) -> dict[str, Any] | str:
    """Return the report of pip-audit, or in a line why there is none."""
    done = _python(
        "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip",
        "--vulnerability-service", service, "--format", "json", "--progress-spinner", "off",
        "--timeout", "15",
    )  # fmt: skip
    try:
        report = json.loads(done.stdout)
        return report if isinstance(report, dict) else "an odd report"
    except ValueError:
        lines = done.stderr.strip().splitlines()
        return lines[-1][:120] if lines else f"exit {done.returncode} without a word"


def _told(service: str, report: dict[str, Any]) -> Said:
    asked = [one for one in report["dependencies"] if "vulns" in one]
    unknown = [one["name"] for one in report["dependencies"] if "vulns" not in one]
    wrong = tuple(
        f"{one['name']} {one['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'none'}"
        for one in asked
        for each in one["vulns"]
    )
    line = (
        f"{len(asked)} of {len(report['dependencies'])} packages looked up at {service}, {len(wrong)} found"
    )
    return Said(f"{line}; not known there: {', '.join(unknown)}" if unknown else line, wrong)


def newer(names: set[str]) -> Said:
    """Which pinned packages have newer releases; that alone is nothing wrong."""
    done = _python("-m", "pip", "list", "--outdated", "--format", "json", "--disable-pip-version-check")
    try:
        found = [one for one in json.loads(done.stdout) if package_key(one["name"]) in names]
    except ValueError:
        return Said("NOT CHECKED: no index answers here", asked=False)
    if not found:
        return Said("none was named; whether an index was reached, pip does not say", asked=False)
    told = ", ".join(f"{one['name']} {one['version']} -> {one['latest_version']}" for one in found[:SHOWN])
    return Said(
        f"{len(found)} of {len(names)} have newer releases: {told}{' ...' if len(found) > SHOWN else ''}"
    )


def age() -> Said:
    """When the pins were last moved."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%cs", "--", PINS.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return Said(f"constraints.txt was last changed on {done.stdout.strip() or 'no known day'}")
    except (OSError, subprocess.CalledProcessError):
        return Said("unknown: not a checkout", asked=False)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=env)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {PATIENCE:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask and print; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="do not ask for newer releases")
    parser.add_argument("--strict", action="store_true", help="fail where no database answers, too")
    args = parser.parse_args(arguments)
    lines = PINS.read_text(encoding="utf-8").splitlines()
    names = {package_key(line.partition("==")[0]) for line in lines if "==" in line}
    said = {
        "pins": pins(lines, needed()),
        "pip check": agreement(),
        "age": age(),
        "advisories": advisories(PINS),
    }
    if not args.quick:
        said["newer"] = newer(names)
    for name, one in said.items():
        print(f"{name:11} {one.line}", *(f"    {fault}" for fault in one.wrong), sep="\n")
    if not said["advisories"].asked:
        print("Nothing above says that no package is vulnerable. Run this where a database can be reached.")
    missing = args.strict and not said["advisories"].asked
    return int(missing or any(one.wrong for one in said.values()))


if __name__ == "__main__":
    sys.exit(main())
