"""Every block of README and tutorial is run by something, and the tutorial by a newcomer."""

from __future__ import annotations

import sys
from pathlib import Path

import newcomer
import pytest
from pages import Block, blocks, blocks_of

from tests.helpers.paths import ROOT
from tests.helpers.readme import readme_snippet

README, TUTORIAL = ROOT / "README.md", newcomer.PAGE

VENV = Path(sys.prefix)
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def unrun(found: list[Block], tutorial: list[Block]) -> list[str]:
    """Lines and blocks that nothing runs: not CI, not a newcomer, who follows the tutorial.

    A `text` block is no code. What a newcomer leaves out stands in `newcomer.NOT_RUN` with a reason.
    """
    planned = {line for step in newcomer.plan(tutorial, None) for line in step.block.commands}
    faults = []
    for block in found:
        if block.language == "sh":
            faults += [f"{block}: {line}" for line in block.commands if line not in planned | set(CI)]
        elif block.language != "text" and block.text != readme_snippet():  # which tests/unit/test_api.py runs
            faults.append(f"{block}: nothing runs this")
    return faults


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=["README", "tutorial"])
def test_every_block_is_run(page: Path) -> None:
    found = blocks(page)
    assert len(found) > 2 and unrun(found, blocks(TUTORIAL)) == []


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=["README", "tutorial"])
def test_every_fence_is_seen(page: Path) -> None:
    """As many blocks as pairs of fences, so that none hides behind an unclosed one."""
    fences = [
        line for line in page.read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("```")
    ]
    assert len(fences) == 2 * len(blocks(page))


def test_blocks_that_nobody_runs_are_caught() -> None:
    text = "```sh\ntledge train other.toml\nmake demo # x\n```\n\n```python\nimport tledge\n```\n\n"
    assert unrun(blocks_of(text, "x.md"), blocks(TUTORIAL)) == [
        "x.md:1 (sh): tledge train other.toml",
        "x.md:6 (python): nothing runs this",
    ]
    assert unrun(blocks_of("```\ntledge data\n```\n", "x.md"), blocks(TUTORIAL)) == [
        "x.md:1 (no language): nothing runs this"
    ]


def test_lines_that_go_on_are_one_command() -> None:
    (block,) = blocks_of("```sh\nmake \\\n    demo  # minutes\n\n# nothing\nmake test\n```\n", "x.md")
    assert block.commands == ["make demo", "make test"]


def test_what_is_not_run_has_a_reason() -> None:
    steps = list(newcomer.plan(blocks(TUTORIAL), None))
    left_out = [step for step in steps if not step.text and "javac" not in step.block.text]
    assert len(left_out) == len(newcomer.NOT_RUN)
    assert all(
        step.block.text.startswith(words) for step, words in zip(left_out, newcomer.NOT_RUN, strict=True)
    )
    assert all(len(step.remark) > 20 for step in left_out)
    assert all(step.text == step.block.text for step in steps if step.text)


def test_short_path_takes_the_pages_own_settings() -> None:
    steps = list(newcomer.plan(blocks(TUTORIAL), VENV))
    changed = [step for step in steps if step.text != step.block.text and step.text]
    first, training = changed
    assert first.text == f"PATH={VENV}/bin:$PATH\n"
    assert training.text.startswith("tledge train mine.toml --set stage.0.epochs=")
    assert "--out" not in training.text
    assert all(step.remark for step in changed)


def made_page(text: str) -> list[newcomer.Step]:
    return [newcomer.Step(block, block.text) for block in blocks_of(text, "page.md")]


def test_walk_ends_at_the_first_failure(tmp_path: Path) -> None:
    environment = newcomer.surroundings(tmp_path / "home", None)
    good = "```sh\nmkdir inside\ncd inside\n```\n\n```sh\ntouch here\n```\n"
    assert newcomer.walk(made_page(good), tmp_path, environment) == 0
    assert (tmp_path / "inside" / "here").exists()
    bad = "```sh\nexit 7 | cat\n```\n\n```sh\ntouch too-far\n```\n"
    assert newcomer.walk(made_page(bad), tmp_path, environment) == 7
    assert not (tmp_path / "too-far").exists()


def test_surroundings_are_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLEDGE_CACHE", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_CERT", "/etc/ssl/one.pem")
    found = newcomer.surroundings(tmp_path / "home", tmp_path / "keras")
    assert not {"TLEDGE_CACHE", "PYTHONPATH", "VIRTUAL_ENV"} & set(found)
    assert found["PIP_CERT"] == "/etc/ssl/one.pem" and found["KERAS_HOME"] == str(tmp_path / "keras")
    assert str(VENV / "bin") not in found["PATH"].split(":") or sys.prefix == sys.base_prefix


@pytest.mark.parametrize("kind", ["checkout", "sdist"])
def test_checkout_holds_what_git_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "sdist":  # no repository
        monkeypatch.setattr(newcomer, "names", newcomer._unpacked)
    newcomer.checkout(tmp_path)
    assert (tmp_path / "Makefile").is_file() and (tmp_path / "tledge" / "api.py").is_file()
    assert not (tmp_path / ".venv").exists() and not (tmp_path / ".git").exists()
