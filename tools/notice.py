"""Write NOTICE: whose work tledge ships or installs, and under which licences (python tools/notice.py).

pip-licenses reads what the installed packages state, so this runs in an environment with the `dev` extra.
--check writes nothing and reports faults: a licence that is unknown or would keep users from shipping, or
a NOTICE that is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
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
"""Extras for those who change tledge."""

ELSEWHERE = "nvidia-"
"""Prefix of the packages of the `gpu` extra; they are not installed where NOTICE is written."""

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "MPL-2.0", "PSF-2.0", "Zlib",
}  # fmt: skip
"""Licences under which users may ship; the MPL only requires to publish changes to its own files."""

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
"""SPDX names of licences that older packages write differently; "BSD" if they do not say which one."""

READ = {
    "axe-playwright-python": ("MIT AND MPL-2.0", "axe.min.js", "Mozilla Public"),
    "namex": ("Apache-2.0", "LICENSE", "Apache License, Version 2.0"),
    "pillow-heif": ("BSD-3-Clause AND LGPL-3.0 AND GPL-2.0", "LICENSES_bundled.txt", "GPLv2, due to base"),
    "tflite-micro": ("Apache-2.0", "tflite_micro/__init__.py", "Apache License, Version 2.0"),
}
"""Packages whose metadata is incomplete: the licence, the installed file that states it, and its words."""

ACCEPTED = {"pillow-heif": "its wheels are GPL-2.0 as a whole; they only read HEIC where they are installed"}
"""Packages with a licence that is not in ALLOWED, and why they do not prevent shipping a bundle."""


def pinned() -> list[str]:
    """Return the package names in constraints.txt, as they are spelled there."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if not line.startswith("#")]


def absent() -> list[str]:
    """Return the pinned packages that are not installed, except those of the `gpu` extra."""
    return [name for name in pinned() if not name.startswith(ELSEWHERE) and _metadata(name) is None]


def _metadata(name: str) -> metadata.PackageMetadata | None:
    try:
        return metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def _statements() -> dict[str, dict[str, str]]:
    """Ask pip-licenses what every installed package states about its licence, by `package_key`."""
    command = [sys.executable, "-m", "piplicenses", "--from=all", "--with-system", "--format=json"]
    completed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    return {
        package_key(row["Name"]): {name: "" if value == "UNKNOWN" else value for name, value in row.items()}
        for row in json.loads(completed.stdout)
    }


def licence(name: str) -> str:
    """Return the licence of an installed package in SPDX; "" where it is unknown."""
    if package_key(name) in READ:
        return _read(package_key(name))
    statements = _statements()[package_key(name)]
    if expression := statements["License-Expression"]:
        return expression
    first_line = statements["License-Metadata"].strip().partition("\n")[0].strip()
    if spdx := _spdx(first_line):
        return spdx
    classifiers = [words for words in statements["License-Classifier"].split("; ") if words]
    return " AND ".join(_spdx(words) or words for words in classifiers)


def _spdx(words: str) -> str:
    """Return the SPDX name of a licence that a package names in `words`; "" where it is unknown."""
    parts = words.split(" AND ")
    return words if set(parts) <= ALLOWED else SPELLED.get(words.lower(), "")


def _read(name: str) -> str:
    """Return the licence of READ, as long as the package's file still states it."""
    licence, file, words = READ[name]
    for path in metadata.files(name) or ():
        if path.as_posix().endswith(file) and words in path.locate().read_text("utf-8", "replace")[:4000]:
            return licence
    return ""


def lets_ship(licence: str) -> bool:
    """Tell whether ALLOWED contains all licences of an expression, or those of one of its alternatives."""
    choices = licence.replace("(", "").replace(")", "").split(" OR ")
    return any(set(choice.split(" AND ")) <= ALLOWED for choice in choices)


def users() -> dict[str, list[str]]:
    """Map every package to the extras that install it; "" is tledge without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    extras_of: dict[str, list[str]] = {}
    for extra, lines in extras.items():
        if extra != "all":
            for name in packages.closure(map(Requirement, lines)):
                extras_of.setdefault(name, []).append(extra)
    return extras_of


def faults() -> list[str]:
    """List the licences that prevent shipping or are unknown."""
    problems = []
    for name, extras in users().items():
        if name in ACCEPTED or set(extras) <= set(WORKSHOP) | {"gpu"}:
            continue
        stated = licence(name)
        if not stated:
            problems.append(f"{name}: no licence is known. Look it up and add it to READ in tools/notice.py.")
        elif not lets_ship(stated):
            problems.append(f"{name}: {stated} is not in ALLOWED of tools/notice.py; may users ship with it?")
    return problems


def text() -> str:
    """Return the text of NOTICE."""
    by_user = users()
    names = {package_key(name): name for name in pinned() if not name.startswith(ELSEWHERE)}
    everyone = [name for name in names if "" in by_user.get(name, ())]
    workshop = [name for name in names if set(by_user.get(name, WORKSHOP)) <= set(WORKSHOP)]
    more = [name for name in names if name not in everyone and name not in workshop]
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
        extras = ", ".join(extra for extra in by_user.get(key, ()) if extra and extra not in WORKSHOP)
        where = f" [{extras}]" if extras and "" not in by_user[key] else ""
        yield f"{names[key]}: {licence(key) or 'not known'}{where}{_address(key)}"


def _address(name: str) -> str:
    """Return where a package says its source is, else its home page; package indexes do not count.

    pip-licenses is not used here: it names the change log of some packages as their address.
    """
    fields = metadata.metadata(name)
    urls = dict(line.split(", ", 1) for line in fields.get_all("Project-URL") or ())
    by_label = {re.sub(r"[^a-z]", "", label.lower()): url for label, url in urls.items()}
    for label in ("source", "sourcecode", "repository", "github", "homepage", "home"):
        if _is_own(by_label.get(label, "")):
            return f", {by_label[label]}"
    return f", {fields['Home-page']}" if _is_own(fields.get("Home-page") or "") else ""


def _is_own(url: str) -> bool:
    return url.startswith("http") and not re.search(r"//(?:www\.)?(?:pypi|npmjs)\b", url)


def main() -> int:
    """Write or check NOTICE; return 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    args = parser.parse_args()
    problems = [f"{name}: pinned, but not installed here. Install tledge[dev]." for name in absent()]
    if not problems:
        problems = faults()
        if not args.check:
            PLACE.write_text(text(), encoding="utf-8")
        elif not PLACE.is_file() or PLACE.read_text(encoding="utf-8") != text():
            problems.append("NOTICE is out of date. Run: python tools/notice.py")
    print(
        "\n".join(problems)
        or f"NOTICE: {len(pinned())} packages, every licence is known and lets users ship."
    )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
