"""The site builds without a warning, its links lead somewhere, and its pages fetch nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.helpers.paths import ROOT
from tledge.cli.main import tledge
from tledge.formats.registry import VARIANTS
from tledge.recipe.definition import Recipe, table_name

FETCHED = {"src", "srcset", "poster", "data"}
"""Attributes whose address a browser fetches by itself; of `link`, `href` too."""


def build(folder: Path, *changes: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Build a copy of docs/ in `folder`, with text added to some pages; the site is its `site`."""
    ignored = shutil.ignore_patterns("reference", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
    for name in ("export", "recipes", "tledge"):
        (folder / name).symlink_to(ROOT / name)
    for page, text in changes:
        with (folder / "docs" / page).open("a", encoding="utf-8") as file:
            file.write(text)
    options = ["--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *options, "docs", "site"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; do not change it."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return folder / "site"


class Page(HTMLParser):
    """What a built page names: its anchors, what it links to, what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in FETCHED or (tag == "link" and name == "href"):
                self.fetched.append(value or "")
            elif name == "href":
                self.links.append(value or "")


def dead_links(site: Path) -> list[str]:
    """Links and fetched files of all pages that lead nowhere within the site."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    faults = []
    for path, page in pages.items():
        for link in (*page.links, *page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{path.name}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{path.name}: {link}, no such anchor")
    return faults


def requests(site: Path) -> list[str]:
    """What pages and styles would fetch from elsewhere."""
    found = [
        f"{path.name}: {address}"
        for path in site.rglob("*.html")
        for address in Page(path).fetched
        if re.match(r"(\w+:)?//", address)
    ]
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", text)
        found += [f"{path.name}: {address}" for address in addresses]
    return found


def test_links_lead_somewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 25
    assert dead_links(site) == []


def test_pages_fetch_nothing(site: Path) -> None:
    assert requests(site) == []


def test_dead_links_and_requests_are_caught(site: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    page = copy / "tutorial.html"
    faults = '<a href="gone.html">x</a><a href="index.html#gone">y</a><img src="https://example.org/a.png">'
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{faults}</body>"), encoding="utf-8")
    (copy / "_static" / "x.css").write_text("@import url('https://example.org/font.css');")
    assert dead_links(copy) == ["tutorial.html: gone.html", "tutorial.html: index.html#gone, no such anchor"]
    assert requests(copy) == [
        "tutorial.html: https://example.org/a.png",
        "x.css: https://example.org/font.css",
    ]


def test_names_stand_in_the_built_reference(site: Path) -> None:
    def text(page: str) -> str:
        return re.sub(r"<[^>]*>", "", (site / "reference" / f"{page}.html").read_text(encoding="utf-8"))

    assert [name for name in tledge.commands if f"tledge {name}" not in text("commands")] == []
    assert [name for name in VARIANTS if name not in text("variants")] == []
    keys = {table_name(field) for field in Recipe.__dataclass_fields__} | {
        "quantize_aware",
        "max_arena_kib",
        "give_up",
    }
    assert [name for name in keys if name not in text("recipe")] == []


@pytest.mark.parametrize(
    ("page", "fault", "said"),
    [
        ("tutorial.md", "\n[x](gone.md)\n", "gone.md"),
        ("recipes.md", "\n[x](reference/recipe.md#gone)\n", "gone"),
    ],
)
def test_warning_fails_the_build(page: str, fault: str, said: str, tmp_path: Path) -> None:
    done = build(tmp_path, (page, fault))
    assert done.returncode != 0
    assert page in done.stderr and said in done.stderr
