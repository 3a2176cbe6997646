"""The Android project as files: Gradle, manifest, and a core in plain Java."""

import json
import re
import tomllib
import xml.dom.minidom
from pathlib import Path

import pytest

from tests.helpers.android import PROJECT


def test_core_knows_no_android_and_no_desktop() -> None:
    sources = list(PROJECT.glob("core/**/*.java"))
    assert len(sources) >= 6
    for source in sources:
        imports = re.findall(r"^import (?:static )?(\S+);", source.read_text(encoding="utf-8"), re.M)
        assert [one for one in imports if not re.match(r"java\.(io|nio|util|security)\.", one)] == [], source
        assert "java.nio.file" not in "".join(imports)  # Android has it from version 8 on only


def test_gradle_knows_what_it_names() -> None:
    catalog = tomllib.loads((PROJECT / "gradle" / "libs.versions.toml").read_text(encoding="utf-8"))
    assert catalog["libraries"]["litert"]["module"] == "com.google.ai.edge.litert:litert"
    for entry in (*catalog["libraries"].values(), *catalog["plugins"].values()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", catalog["versions"][entry["version"]["ref"]])
    app = (PROJECT / "app" / "build.gradle.kts").read_text(encoding="utf-8")
    used = {name.replace(".", "-") for name in re.findall(r"implementation\(libs\.([\w.]+)\)", app)}
    assert used == set(catalog["libraries"])
    settings = (PROJECT / "settings.gradle.kts").read_text(encoding="utf-8")
    modules = re.search(r"include\((.*)\)", settings)
    assert modules and all(
        (PROJECT / one / "build.gradle.kts").is_file() for one in json.loads(f"[{modules[1]}]")
    )


@pytest.mark.parametrize(
    "file", sorted(PROJECT.glob("**/build.gradle.kts")), ids=lambda file: file.parent.name
)
def test_gradle_files_close_what_they_open(file: Path) -> None:
    text = re.sub(r'"[^"\n]*"|//.*', "", file.read_text(encoding="utf-8"))
    for opening, closing in ("{}", "()", "[]"):
        assert text.count(opening) == text.count(closing)


def test_manifest_starts_the_activity() -> None:
    read = xml.dom.minidom.parse(str(PROJECT / "app" / "src" / "main" / "AndroidManifest.xml"))
    (activity,) = read.getElementsByTagName("activity")
    name = activity.getAttribute("android:name").lstrip(".")
    source = PROJECT / "app" / "src" / "main" / "java" / "tledge" / "app" / f"{name}.java"
    assert f"class {name} " in source.read_text(encoding="utf-8")
    permissions = [one.getAttribute("android:name") for one in read.getElementsByTagName("uses-permission")]
    assert permissions == ["android.permission.CAMERA"]  # and no network


def test_sources_stay_short() -> None:
    def lines(module: str) -> int:
        found = [
            line for file in PROJECT.glob(f"{module}/**/*.java") for line in file.read_text().splitlines()
        ]
        return len([line for line in found if not re.match(r"\s*($|//|/\*|\*)", line)])

    assert lines("core") < 475 and lines("desktop") < 60 and lines("app") < 220
