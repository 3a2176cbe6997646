"""NOTICE: whose work tledge ships or installs, under which licences; python tools/notice.py writes it.

What packages say of themselves is read from those that are installed, so it runs in an environment with
the `dev` extra. --check writes nothing and names what is not as it should be: a licence that nobody
knows or that would keep users from shipping, or a NOTICE of yesterday.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's tledge

from packaging.requirements import Requirement

from tledge._io.resources import package_key
from tledge.environment import packages
from tledge.models.backbones import BACKBONES

PLACE = ROOT / "NOTICE"
WORKSHOP = ("docs", "dev")
"""Extras that only those install who change tledge."""

ELSEWHERE = "nvidia-"
"""Packages of the `gpu` extra; they are not installed where NOTICE is written."""

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "MPL-2.0", "PSF-2.0", "Zlib",
}  # fmt: skip
"""Licences that let anybody ship; the MPL asks to publish changes to its own files, and no more."""

SPELLED = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd license": "BSD",
    "gnu general public license (gpl)": "GPL",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
"""What packages of before SPDX call a licence; "BSD" where they do not say with how many clauses."""

READ = {
    "axe-playwright-python": ("MIT AND MPL-2.0", "axe.min.js", "Mozilla Public"),
    "namex": ("Apache-2.0", "LICENSE", "Apache License, Version 2.0"),
    "pillow-heif": ("BSD-3-Clause AND LGPL-3.0 AND GPL-2.0", "LICENSES_bundled.txt", "GPLv2, due to base"),
    "tflite-micro": ("Apache-2.0", "tflite_micro/__init__.py", "Apache License, Version 2.0"),
}
"""Where metadata says nothing or not all: the licence, the installed file that says so, and its words."""

ACCEPTED = {"pillow-heif": "its wheels are GPL-2.0 as a whole; they only read HEIC where they are installed"}
"""Licences beyond ALLOWED that somebody looked at, and why they are no obstacle to shipping a bundle."""


def pinned() -> list[str]:
    """Names in constraints.txt, as they are spelled there."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if not line.startswith("#")]


def absent() -> list[str]:
    """Pinned packages that are not installed, those of the `gpu` extra aside."""
    return [name for name in pinned() if not name.startswith(ELSEWHERE) and _metadata(name) is None]


def _metadata(name: str) -> metadata.PackageMetadata | None:
    try:
        return metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None


def licence(name: str) -> str:
    """The licence of an installed package by SPDX, "" where nothing tells it."""
    if package_key(name) in READ:
        return _read(package_key(name))
    facts = metadata.metadata(name)
    if said := facts.get("License-Expression"):
        return str(said)
    first = (facts.get("License") or "").strip().partition("\n")[0].strip()
    if words := _spdx(first):
        return words
    named = [one.split("::")[-1].strip() for one in facts.get_all("Classifier") or () if "License ::" in one]
    return " AND ".join(_spdx(one) or one for one in named)


def _spdx(words: str) -> str:
    """SPDX's name for a licence that a package names in `words`; "" where it is none that is known."""
    parts = words.split(" AND ")
    return words if set(parts) <= ALLOWED else SPELLED.get(words.lower(), "")


def _read(name: str) -> str:
    """The licence of READ, as long as the package's file still says so."""
    licence, file, words = READ[name]
    for path in metadata.files(name) or ():
        if path.as_posix().endswith(file) and words in path.locate().read_text("utf-8", "replace")[:4000]:
            return licence
    return ""


def lets_ship(licence: str) -> bool:
    """Whether ALLOWED has all licences of an expression, or one of a choice."""
    choices = licence.replace("(", "").replace(")", "").split(" OR ")
    return any(set(one.split(" AND ")) <= ALLOWED for one in choices)


def users() -> dict[str, list[str]]:
    """By package, which extras bring it; "" is tledge without any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, list[str]] = {}
    for extra, lines in extras.items():
        if extra != "all":
            for name in packages.closure(map(Requirement, lines)):
                found.setdefault(name, []).append(extra)
    return found


def faults() -> list[str]:
    """What licences stand in the way of shipping, and which nobody knows."""
    wrong = []
    for name, extras in users().items():
        if name in ACCEPTED or set(extras) <= set(WORKSHOP) | {"gpu"}:
            continue
        told = licence(name)
        if not told:
            wrong.append(f"{name}: no licence is known; look, and add it to READ in tools/notice.py.")
        elif not lets_ship(told):
            wrong.append(f"{name}: {told} is not in ALLOWED of tools/notice.py; may users ship with it?")
    return wrong


def text() -> str:
    """NOTICE as it ought to be."""
    by_user = users()
    names = {package_key(name): name for name in pinned() if not name.startswith(ELSEWHERE)}
    everyone = [one for one in names if "" in by_user.get(one, ())]
    workshop = [one for one in names if set(by_user.get(one, WORKSHOP)) <= set(WORKSHOP)]
    more = [one for one in names if one not in everyone and one not in workshop]
    parts = (
        _HEAD,
        _title("Inside tledge and its bundles"), *_inside(),
        _title("Weights that training may begin with"), *_weights(),
        _title("Installed with tledge"), *_table(everyone, names, by_user),
        _title("Installed with an extra"), *_table(more, names, by_user), *map(_paragraph, _REMARKS),
        _title("Installed to change tledge"), *_table(workshop, names, by_user),
    )  # fmt: skip
    return "\n".join(parts) + "\n"


_HEAD = """tledge
Licensed under the Apache License, Version 2.0; see LICENSE.

Whose work is in tledge, or is installed with it, and under which licence they give it. Packages are
named with what they say of themselves at the versions of constraints.txt; "BSD" stands where they do
not say with how many clauses. Many hold work of others in turn and name it in files of their own.
tools/notice.py writes this file."""

_REMARKS = (
    "pillow-heif: its source is BSD-3-Clause; its wheels hold libheif and libde265 (LGPL-3.0) and x265 "
    "(GPL-2.0), and are GPL-2.0 as a whole. Only the extras heic, all and dev install it, and no bundle "
    "holds any of it. Whoever ships it to others has to keep to the GPL.",
    "The extra gpu brings NVIDIA's libraries (nvidia-...-cu12). Those that state a licence in their metadata "
    "state LicenseRef-NVIDIA-Proprietary or NVIDIA Proprietary Software: NVIDIA's own terms. No bundle holds "
    "any of them.",
)


def _title(words: str) -> str:
    return f"\n{words}\n{'-' * len(words)}\n"


def _paragraph(words: str) -> str:
    return "\n" + textwrap.fill(words, 100)


def _inside() -> Iterator[str]:
    package = json.loads((ROOT / "tools/litert_js/package.json").read_text(encoding="utf-8"))
    version = package["dependencies"]["@litertjs/core"]
    yield textwrap.fill(
        f"LiteRT.js {version} (@litertjs/core), Apache-2.0, https://github.com/google-ai-edge/LiteRT: in "
        "export/web/litert, minified and without its use of GPUs, and so in every preview.html and in the "
        "device project web. Its licence lies beside it, and inside each preview.html.",
        100,
    )
    yield _paragraph(
        "Declarations of LiteRT's C API, Apache-2.0, https://github.com/google-ai-edge/LiteRT: in "
        "export/cpp/litert_c.h, written anew from what is used of it."
    )


def _weights() -> Iterator[str]:
    yield textwrap.fill(
        "ImageNet weights that Keras downloads when a recipe asks for them, with the licence that Keras' "
        "documentation of keras.applications gave in Keras 2, as far as it gave one:",
        100,
    )
    yield ""
    for name, row in BACKBONES.items():
        if row.pretrained and name != "hub":
            yield f"{name:20} {row.licence or 'not stated'}"


def _table(keys: Iterable[str], names: dict[str, str], by_user: dict[str, list[str]]) -> Iterator[str]:
    for key in keys:
        extras = ", ".join(one for one in by_user.get(key, ()) if one and one not in WORKSHOP)
        where = f" [{extras}]" if extras and "" not in by_user[key] else ""
        yield f"{names[key]}: {licence(key) or 'not known'}{where}{_address(key)}"


def _address(name: str) -> str:
    """Where a package lives, by its own account; indexes, which hold any package, are no such place."""
    facts = metadata.metadata(name)
    known = dict(line.split(", ", 1) for line in facts.get_all("Project-URL") or ())
    ranked = {re.sub(r"[^a-z]", "", label.lower()): url for label, url in known.items()}
    for label in ("source", "sourcecode", "repository", "github", "homepage", "home"):
        if _is_own(ranked.get(label, "")):
            return f", {ranked[label]}"
    return f", {facts['Home-page']}" if _is_own(facts.get("Home-page") or "") else ""


def _is_own(url: str) -> bool:
    return url.startswith("http") and not re.search(r"//(?:www\.)?(?:pypi|npmjs)\b", url)


def main() -> int:
    """Write or check; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    args = parser.parse_args()
    wrong = [f"{name}: pinned, and not installed here. Install tledge[dev]." for name in absent()]
    if not wrong:
        wrong = faults()
        if not args.check:
            PLACE.write_text(text(), encoding="utf-8")
        elif not PLACE.is_file() or PLACE.read_text(encoding="utf-8") != text():
            wrong.append("NOTICE is not current. Run: python tools/notice.py")
    print("\n".join(wrong) or f"NOTICE: {len(pinned())} packages, every licence known, none in the way.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
