"""Device projects: the table, filling one with a bundle, and `tledge bundle --target`."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.recipes import BARE
from tledge._io import files, resources
from tledge.bundle.reader import Bundle, open_bundle
from tledge.devices import projects
from tledge.errors import ArtifactError, RecipeError, RunError
from tledge.run import folder as run_folder

PI = "raspberry_pi"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a target "toy" that a test may change, as it lies in a checkout."""
    folder = tmp_path / "export" / "toy"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.c").write_text("int main(void) { return 0; }\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    shutil.copy(resources.folder("export") / "manifest.schema.json", tmp_path / "export")
    monkeypatch.setattr(resources, "folder", lambda name: tmp_path / name)
    toy = projects.Target("a toy", ("tflite-int8",), self_test="./run.sh")
    monkeypatch.setattr(projects, "TARGETS", {"toy": toy})
    yield folder


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def part_of(bundle: Path, *left_out: str) -> set[str]:
    """The files of a bundle that a project gets: no README, no page, nothing of some variants."""
    dropped = ("README.md", "preview.html", *left_out, *(f"golden/{variant}." for variant in left_out))
    return {name for name in tree(bundle) if not name.startswith(dropped)}


@pytest.mark.parametrize("name", projects.TARGETS)
def test_target_is_a_whole_project(name: str) -> None:
    folder = resources.folder("export") / name
    readme = (folder / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("    ")]
    assert 1 <= len(commands) <= 5 and "self-test" in readme
    target = projects.TARGETS[name]
    assert target.summary and target.variants and "self-test" in target.self_test
    assert f"[`{name}`]({name}/README.md)" in (folder.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", projects.TARGETS)
def test_variants_are_known(name: str) -> None:
    from tledge.formats.registry import VARIANTS

    assert set(projects.TARGETS[name].variants) <= set(VARIANTS)


def test_project_is_copied_with_the_bundle(project: Path, bundle: Path, tmp_path: Path) -> None:
    out = projects.fill("toy", bundle, tmp_path / "deep" / "out").folder
    assert tree(out / "bundle") == part_of(bundle, "tflite-fp32")
    assert tree(out) - {f"bundle/{name}" for name in tree(bundle)} == {"src/main.c", "run.sh"}
    assert os.access(out / "run.sh", os.X_OK) and not os.access(out / "src" / "main.c", os.X_OK)
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # nothing temporary stays


def test_zip_serves_as_the_folder_does(project: Path, bundle: Path, tmp_path: Path) -> None:
    filled_from_folder = projects.fill("toy", bundle, tmp_path / "other").folder
    files.canonical_zip(bundle, tmp_path / "b.zip")
    out = projects.fill("toy", tmp_path / "b.zip", tmp_path / "out").folder
    assert files.sha256(out / "bundle") == files.sha256(filled_from_folder / "bundle")


@pytest.mark.parametrize(
    "stray",
    ["build/a.o", "src/build/a.o", "src/__pycache__/a.pyc", ".venv/bin/python", "node_modules/x/y.js",
     ".gradle/x", "local.properties", "bundle/manifest.json", "bundle/strange.bin"],
)  # fmt: skip
def test_leftovers_stay_behind(project: Path, bundle: Path, tmp_path: Path, stray: str) -> None:
    path = project / stray
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left over")
    out = projects.fill("toy", bundle, tmp_path / "out").folder
    assert not (out / stray).is_file() or stray == "bundle/manifest.json"
    assert tree(out / "bundle") == part_of(bundle, "tflite-fp32")


def test_folder_of_sources_named_bundle_comes_along(project: Path, bundle: Path, tmp_path: Path) -> None:
    (project / "src" / "bundle").mkdir()
    (project / "src" / "bundle" / "reader.c").write_text("")
    assert "src/bundle/reader.c" in tree(projects.fill("toy", bundle, tmp_path / "out").folder)


def test_fill_sees_project_and_bundle(
    project: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path, opened: Bundle) -> None:
        assert (folder / "src" / "main.c").is_file() and (folder / "bundle" / "manifest.json").is_file()
        (folder / "labels.h").write_text(" ".join(opened.manifest.labels))

    toy = replace(projects.TARGETS["toy"], fill=fill)
    monkeypatch.setattr(projects, "TARGETS", {"toy": toy})
    out = projects.fill("toy", bundle, tmp_path / "out").folder
    assert (out / "labels.h").read_text() == "red green blue"


def test_failed_fill_leaves_nothing(
    project: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path, _opened: Bundle) -> None:
        raise ArtifactError("too large for any microcontroller")

    monkeypatch.setattr(projects, "TARGETS", {"toy": replace(projects.TARGETS["toy"], fill=fill)})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match="too large"):
        projects.fill("toy", bundle, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_target_names_the_known(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--target toaster: unknown.*Known: .*raspberry_pi"):
        projects.fill("toaster", bundle, tmp_path / "out")


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_stands_there_is_kept(project: Path, bundle: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    {"folder": out.mkdir, "file": out.touch, "dangling link": lambda: out.symlink_to("gone")}[kind]()
    with pytest.raises(
        RunError, match=r"out: exists already\. Remove it, or choose another folder with --out"
    ):
        projects.fill("toy", bundle, out)
    assert out.is_symlink() or out.is_file() or list(out.iterdir()) == []


def test_bundle_without_a_fitting_variant(project: Path, tmp_path: Path) -> None:
    bundle = fake_artifacts.bundle(tmp_path / "bundle")
    with pytest.raises(RecipeError, match=r"bundle: has saved_model, .* but toy needs one of tflite-int8"):
        projects.fill("toy", bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_project_inside_the_bundle_is_refused(project: Path, bundle: Path) -> None:
    with pytest.raises(RecipeError, match="a bundle may contain only the files in SHA256SUMS"):
        projects.fill("toy", bundle, bundle / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda bundle: (bundle / "tflite-int8.tflite").write_bytes(b"other"),
            "tflite-int8.tflite was changed",
        ),
        (lambda bundle: (bundle / "labels.txt").unlink(), "SHA256SUMS differ: labels.txt"),
        (lambda bundle: (bundle / "more.txt").touch(), "SHA256SUMS differ: more.txt"),
        (lambda bundle: (bundle / "SHA256SUMS").unlink(), "no file SHA256SUMS"),
        (lambda bundle: (bundle / "manifest.json").write_text("{}"), "not a readable tledge manifest"),
    ],
)
def test_damaged_bundle_goes_nowhere(
    project: Path, bundle: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(bundle)
    with pytest.raises(ArtifactError, match=message):
        projects.fill("toy", bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_writes_nothing_elsewhere(project: Path, bundle: Path, tmp_path: Path) -> None:
    """A name with `..` in it is refused, even where SHA256SUMS lists it."""
    import hashlib

    sums = (bundle / "SHA256SUMS").read_text() + f"{hashlib.sha256(b'bad').hexdigest()}  ../../evil.txt\n"
    (bundle / "SHA256SUMS").write_text(sums)
    files.canonical_zip(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as packed:
        packed.writestr("../../evil.txt", "bad")
    with pytest.raises(ArtifactError, match=r"evil.txt' is not a safe file name"):
        projects.fill("toy", tmp_path / "b.zip", tmp_path / "out")
    assert not list(tmp_path.rglob("evil.txt")) and not (tmp_path / "out").exists()


def test_bundle_becomes_a_project(cli: Cli, bundle: Path) -> None:
    done = cli("bundle", bundle, "--target", PI)
    assert done.code == 0, done.err
    out = bundle.parent / PI
    assert (out / "classify.py").is_file() and (out / "bundle" / "manifest.json").is_file()
    assert done.out.splitlines()[-1] == f"Next: cd {out} && python classify.py --self-test"
    again = cli("bundle", bundle, "--target", PI)
    assert again.code == 1 and f"{out}: exists already" in again.err


def test_project_as_json(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    done = cli("bundle", bundle, "--target", PI, "--out", tmp_path / "my pi", "--json")
    assert json.loads(done.out) == {
        "folder": str(bundle),
        "target": PI,
        "project": str(tmp_path / "my pi"),
        "self_test": "python classify.py --self-test",
        "project_variants": ["tflite-int8", "tflite-fp32"],
    }


@pytest.fixture
def prepared(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose bundle is made by copying one."""
    from tledge.bundle import build as stage

    def copied(folder: run_folder.RunFolder, **_options: object) -> stage.Bundled:
        shutil.copytree(bundle, folder.bundle)
        return stage.Bundled(
            folder.bundle, folder.path / "tiny-1.zip", "ab", ("tflite-int8",), ("onnx-fp32",)
        )

    monkeypatch.setattr(stage, "bundle", copied)
    run = fake_artifacts.run(tmp_path / "runs" / "tiny")
    (run / "recipe.toml").write_text(BARE)
    (run / "environment.json").write_text("{}")
    return run


def test_run_becomes_bundle_and_project(cli: Cli, prepared: Path) -> None:
    done = cli("bundle", prepared, "--target", PI)
    assert done.code == 0, done.err
    assert tree(prepared / PI / "bundle") == part_of(prepared / "bundle")
    assert "Not in the bundle: onnx-fp32 (" in done.out and f"Project: {prepared / PI}" in done.out


def test_run_without_target_is_bundled_as_before(cli: Cli, prepared: Path) -> None:
    done = cli("bundle", prepared, "--json")
    assert json.loads(done.out)["zip"] == str(prepared / "tiny-1.zip") and not (prepared / PI).exists()


@pytest.mark.parametrize("options", [("--target", "toaster"), ("--out", "x"), ("--target", PI, "--out", ".")])
def test_wrong_options_make_no_bundle(cli: Cli, prepared: Path, options: tuple[str, ...]) -> None:
    done = cli("bundle", prepared, *options)
    assert done.code == (1 if "." in options else 2)
    assert not (prepared / "bundle").exists()


@pytest.mark.parametrize("options", [(), ("--unverified", "--target", PI), ("--out", "x")])
def test_ready_bundle_needs_a_target(cli: Cli, bundle: Path, options: tuple[str, ...]) -> None:
    done = cli("bundle", bundle, *options)
    assert done.code == 2 and "already a bundle; put it into a device project with --target" in done.err


def test_missing_zip_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli("bundle", tmp_path / "none.zip", "--target", PI)
    assert done.code == 2 and "none.zip: no such file or folder" in done.err


def test_targets_are_listed(cli: Cli) -> None:
    listed = json.loads(cli("list", "targets", "--json").out)
    assert set(listed) == set(projects.TARGETS)
    assert listed[PI][-1] == "python classify.py --self-test"
    assert PI in cli("list", "targets").out


def test_bundle_of_a_run_is_used_as_it_is(cli: Cli, prepared: Path, bundle: Path) -> None:
    """What an export bundled, whatever its options, is not bundled anew by others."""
    from tests.helpers import fake_device_bundle

    def provisional(raw: dict[str, Any]) -> None:
        raw["artifacts"][1] |= {"verdict": "undecided", "provisional": True}

    fake_device_bundle.change(bundle, provisional)
    shutil.copytree(bundle, prepared / "bundle")
    before = files.sha256(prepared / "bundle")
    done = cli("bundle", prepared, "--target", PI)
    assert done.code == 0 and files.sha256(prepared / "bundle") == before
    assert "With: tflite-int8, tflite-fp32, " in done.out
    assert "Note: saved_model, tflite-fp32, onnx-fp32 of this run came after its bundle" in done.err
    shipped = {entry.variant: entry for entry in open_bundle(prepared / PI / "bundle").manifest.artifacts}
    assert shipped["tflite-int8"].provisional and shipped["tflite-int8"].verdict == "undecided"
    assert shipped["tflite-fp32"].verdict == "passed"
