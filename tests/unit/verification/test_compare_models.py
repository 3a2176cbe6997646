"""`tledge compare`: what is said of B beside A, with planted faults, and how it ends."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_pairs
from tests.helpers.command_line import Cli
from tledge._io import files
from tledge.cli import tables
from tledge.config import Parity
from tledge.contract import InputSpec
from tledge.errors import RecipeError
from tledge.run import golden_set
from tledge.run.folder import RunFolder
from tledge.runtime import sandbox
from tledge.runtime.latency import Minimum
from tledge.verification import compare_models
from tledge.verification.compare_models import ComparedReport, label_differences

LIMITS = Parity()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a clock."""
    monkeypatch.setattr(compare_models, "STRETCH", Minimum(1, 0.0))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return fake_pairs.run(tmp_path / "old")


def weaker(weights: Any) -> Any:
    """Owls look fainter."""
    return weights * np.array([[1], [1], [0.6]])


def without_owls(weights: Any) -> Any:
    return weights * np.array([[1], [1], [0]])


def rewired(weights: Any) -> Any:
    """Cats are called dogs, dogs owls, and owls cats."""
    return weights[[2, 0, 1]]


def changed_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def right(run: Path, weights: Any) -> Any:
    """bool[N]: what the network should answer rightly, by numpy alone."""
    kept = golden_set.load(RunFolder(run).golden)
    return (kept.images.reshape(len(kept.labels), -1) @ weights.T).argmax(1) == kept.labels


def test_same_run_is_zero(cli: Cli, old: Path) -> None:
    done = cli("compare", old, old, "--quiet")
    assert done.code == 0, done.err
    assert "B holds the same files as A." in done.out
    assert done.out.splitlines()[-1] == f"Next: tledge bundle {old}"
    for row in compare_models.compare(old, old, LIMITS).rows:
        assert (row.verdict, row.change, row.lost, row.won, row.agreement) == ("same file", 0.0, 0, 0, 1.0)


def test_same_bundle_needs_no_images(cli: Cli, old: Path) -> None:
    packed = fake_pairs.bundle(old).parent / "tiny-1.zip"
    done = cli("compare", packed, old / "bundle", "--quiet")
    assert done.code == 0, done.err
    assert "So few images" not in done.out
    assert done.out.splitlines()[-1] == f"Next: tledge verify {old / 'bundle'}"


def test_another_file_that_answers_alike_passes(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * 2)
    done = cli("compare", old, new, "--quiet")
    assert done.code == 0, done.err
    assert f"B is not worse than A. Compared on {fake_pairs.COUNT} test images of {new}." in done.out
    assert "same file" not in done.out and done.out.count("not worse") == 3


def test_lost_images_are_counted(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", weaker)
    before, after = right(old, fake_pairs.weights()), right(new, weaker(fake_pairs.weights()))
    report = compare_models.compare(old, new, LIMITS)
    assert report.verdict == "worse" and [row.variant for row in report.rows] == list(fake_pairs.VARIANTS)
    for row in report.rows:
        assert (row.lost, row.won) == ((before & ~after).sum(), (~before & after).sum())
        assert row.lost and row.won
        assert (row.accuracy_a, row.accuracy_b) == (before.mean(), after.mean())
        assert row.change == pytest.approx(after.mean() - before.mean())
        assert row.change_low is not None and row.change_high is not None
        assert row.change_low < row.change < row.change_high
        assert row.worst_class == "owl" and "recall of class owl fell by 18.3 points" in row.reasons[2]


def test_worse_is_three(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", weaker)
    done = cli("compare", old, new, "--quiet")
    assert done.code == 3
    assert "B is worse than A beyond the gates: tflite-fp32, onnx-fp32." in done.out
    assert "accuracy 83.5%, A 89.0%: a drop of 5.5 points; at most 1 allowed" in done.out
    assert "B cannot replace A (worse)" in done.err and "Next:" not in done.out
    assert cli("compare", new, old, "--quiet").code == 0  # the other way round it is better


def test_a_retrained_model_may_answer_otherwise(old: Path, tmp_path: Path) -> None:
    """Agreement far below what an int8 artifact must have is told, and no gate of its own."""
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * np.array([[1], [1], [0.7]]))
    lax = replace(LIMITS, max_drop=0.05, max_class_drop=0.2, int8_accuracy=0.9)
    row = compare_models.compare(old, new, lax).rows[0]
    assert row.agreement == pytest.approx(0.945) and row.agreement < lax.int8_agreement
    assert row.verdict == "not worse" and (row.lost, row.won) == (8, 2)


def test_a_dropped_class_is_named(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", without_owls)
    done = cli("compare", old, new, "--quiet")
    assert done.code == 3 and "never predicts owl" in done.out


def test_gates_are_those_of_b(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", weaker)
    lax = fake_pairs.RECIPE + "[parity]\nmax_drop = 0.2\nmax_class_drop = 0.5\nint8_accuracy = 0.5\n"
    (old / "recipe.toml").write_text(lax)
    assert cli("compare", old, new, "--quiet").code == 3
    (new / "recipe.toml").write_text(lax)
    done = cli("compare", old, new, "--quiet")
    assert done.code == 0 and f"Gates ([parity] of {new}): B's accuracy may drop by 20.0%" in done.out
    bundled = fake_pairs.bundle(new)
    assert f"Gates ([parity] of {old})" in cli("compare", old, bundled, "--quiet").out


def test_a_drop_of_few_images_may_be_chance(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * np.array([[1], [1], [1.2]]))
    row = compare_models.compare(old, new, LIMITS).rows[0]
    assert row.verdict == "worse" and (row.lost, row.won) == (5, 1)
    assert row.reasons[-1] == "a difference of so few images may be chance (McNemar's p 0.22)"
    sure = fake_pairs.run(tmp_path / "sure", weaker)
    assert not any("chance" in line for line in compare_models.compare(old, sure, LIMITS).rows[0].reasons)


@pytest.mark.parametrize("change", [rewired, lambda weights: weights])
def test_shuffled_labels_are_three(cli: Cli, tmp_path: Path, change: fake_pairs.Change) -> None:
    """Both the network whose labels alone were shuffled, and one that was trained in that order."""
    old = fake_pairs.run(tmp_path / "old")
    new = fake_pairs.run(tmp_path / "new", change, labels=("owl", "cat", "dog"))
    done = cli("compare", old, new, "--quiet", "--json")
    report = json.loads(done.out)
    assert done.code == 3
    assert report["labels"] == ["labels: 3 moved: output 0 is cat in A and owl in B."]
    fits = change is rewired
    assert report["verdict"] == ("incompatible" if fits else "worse")
    assert {row["accuracy_b"] > 0.8 for row in report["rows"]} == {fits}
    shown = cli("compare", old, new, "--quiet").out
    assert "output 0 is cat in A and owl in B" in shown


def test_same_file_under_other_labels_is_not_the_same(tmp_path: Path, old: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", labels=("owl", "cat", "dog"))
    report = compare_models.compare(old, new, LIMITS)
    assert files.sha256(old / "artifacts/tflite-fp32.tflite") == files.sha256(
        new / "artifacts/tflite-fp32.tflite"
    )
    assert {row.verdict for row in report.rows} == {"worse"}


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("cat dog", "cat dog", []),
        ("cat dog", "dog cat", ["2 moved: output 0 is cat in A and dog in B"]),
        ("cat dog", "cat dog owl", ["B adds owl, which A does not have"]),
        ("cat dog owl", "cat dog", ["B lacks owl and can never predict it"]),
        ("cat dog owl", "owl cat", ["B lacks dog", "2 moved: output 0 is cat in A and owl in B"]),
        ("dog cat", "cat", ["B lacks dog", "1 moved: output 1 is cat in A and nothing in B"]),
    ],
)
def test_label_differences_in_words(a: str, b: str, words: list[str]) -> None:
    found = label_differences(tuple(a.split()), tuple(b.split()))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_a_removed_label_leaves_its_images_out(cli: Cli, old: Path, tmp_path: Path) -> None:
    """B never saw owls: it is asked about cats and dogs, and that it lacks owls is said."""
    new = fake_pairs.run(tmp_path / "new", labels=("cat", "dog", "fox"), of=("cat", "dog"))
    report = compare_models.compare(old, new, LIMITS)
    assert report.verdict == "incompatible"
    assert [line.split()[2] for line in report.labels] == ["lacks", "adds"]
    done = cli("compare", new, old, "--quiet")
    assert done.code == 3
    owls = int((golden_set.load(RunFolder(old).golden).labels == 2).sum())
    assert f"Left out: {owls} images with a label that only one" in done.out


def test_no_common_label_is_two(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new")
    changed_json(new / "run.json", lambda facts: facts.update(labels=["rose", "tulip", "lily"]))
    done = cli("compare", old, new, "--quiet")
    assert done.code == 2
    assert "no label in common (cat, dog, owl; rose, tulip, lily)" in done.err


def test_no_common_variant_is_two(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new")
    (old / "artifacts" / "onnx-fp32.json").unlink()
    (new / "artifacts" / "tflite-fp32.json").unlink()
    done = cli("compare", old, new, "--quiet")
    assert done.code == 2
    assert "no variant in common: A has tflite-fp32, B has onnx-fp32" in done.err


def test_variant_restricts(cli: Cli, old: Path) -> None:
    (old / "artifacts" / "onnx-fp32.json").rename(old / "onnx-fp32.json")
    alone = fake_pairs.run(old.parent / "alone")
    report = compare_models.compare(old, alone, LIMITS)
    assert report.only_a == () and report.only_b == ("onnx-fp32",)
    assert "Only in B: onnx-fp32." in cli("compare", old, alone, "--quiet").out
    (old / "onnx-fp32.json").rename(old / "artifacts" / "onnx-fp32.json")
    report = compare_models.compare(old, alone, LIMITS, variants=["onnx-fp32"])
    assert [row.variant for row in report.rows] == ["onnx-fp32"]
    with pytest.raises(
        RecipeError, match=r"--variant tflite-int8: not in both\. Both have tflite-fp32, onnx"
    ):
        compare_models.compare(old, alone, LIMITS, variants=["tflite-int8"])


def test_input_size_is_incompatible(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.enlarged(fake_pairs.run(tmp_path / "new"))
    done = cli("compare", old, new, "--quiet")
    assert done.code == 3
    assert "contract: input size 8 x 8 in A, 16 x 16 in B." in done.out
    assert "an app built for A must be changed for B" in done.out
    assert compare_models.compare(old, new, LIMITS).rows[0].verdict == "not worse"


def test_every_difference_of_the_contract_is_named(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new")
    other = {"fit": "letterbox", "resize": "bicubic", "color": "BGR"}
    changed_json(new / "run.json", lambda facts: facts["input"].update(other))
    report = compare_models.compare(old, new, LIMITS)
    assert report.contract == (
        "contract: input color RGB in A, BGR in B.",
        "contract: input resize bilinear-antialias in A, bicubic in B.",
        "contract: input fit stretch in A, letterbox in B.",
    )
    assert InputSpec(8, 8, **other) != InputSpec(8, 8)


def test_two_bundles_decide_little(cli: Cli, old: Path, tmp_path: Path) -> None:
    pair = fake_pairs.bundle(old), fake_pairs.bundle(fake_pairs.run(tmp_path / "new", weaker))
    done = cli("compare", *pair, "--quiet")
    assert done.code == 6
    assert f"undecided: tflite-fp32, onnx-fp32. Compared on {fake_pairs.PHOTOS} photos" in done.out
    assert "Too few images for a reliable verdict. Name the run folder instead of a bundle" in done.out
    assert "detecting a 1-point accuracy drop needs at least 100 images, there are 6" in done.out
    assert "Gates (tledge's defaults)" in done.out


def test_a_run_decides_what_a_bundle_cannot(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * 2)
    bundled = fake_pairs.bundle(old)
    report = compare_models.compare(bundled, new, LIMITS)
    assert report.verdict == "not worse" and report.images == fake_pairs.COUNT
    assert not any("trained on" in line for line in report.remarks)
    assert (
        compare_models.compare(new, bundled, LIMITS).images_of == f"{fake_pairs.COUNT} test images of {new}"
    )


def test_changed_artifact_is_four(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", weaker)
    path = new / "artifacts" / "tflite-fp32.tflite"
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    done = cli("compare", old, new, "--quiet")
    assert done.code == 4
    assert "tflite-fp32: B's artifacts/tflite-fp32.tflite: " in done.out and "SHA-256 differs" in done.out
    assert "Damaged, or does not run: tflite-fp32." in done.err


def test_not_numbers_is_four(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * np.float32("nan"))
    done = cli("compare", old, new, "--quiet", "--variant", "tflite-fp32")
    assert done.code == 4
    assert "B's artifacts/tflite-fp32.tflite: its predictions are not numbers." in done.out


def test_more_outputs_than_labels_is_four(cli: Cli, old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new")
    changed_json(new / "run.json", lambda facts: facts.update(labels=["cat", "dog", "owl", "fox"]))
    done = cli("compare", old, new, "--quiet")
    assert done.code == 4 and "returns [3] values for 4 labels" in done.out


def test_damaged_zip_is_four(cli: Cli, old: Path, tmp_path: Path) -> None:
    (tmp_path / "new.zip").write_bytes(b"PK\x03\x04 truncated")
    done = cli("compare", old, tmp_path / "new.zip", "--quiet")
    assert done.code == 4 and "not a zip file" in done.err


def test_lacking_runtime_is_said(cli: Cli, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = cli("compare", old, old, "--quiet")
    assert done.code == 0 and "onnx-fp32: onnx-fp32.onnx: needs ONNX Runtime" in done.out
    done = cli("compare", old, old, "--quiet", "--variant", "onnx-fp32")
    assert done.code == 5 and "No artifact could be compared here." in done.err


def test_a_server_format_is_left_out(tmp_path: Path) -> None:
    from tests.helpers import fake_artifacts

    old = fake_artifacts.bundle(tmp_path / "old")
    with pytest.raises(RecipeError, match="no test photos came with them"):
        compare_models.compare(old, old, LIMITS)
    run = fake_artifacts.run(tmp_path / "run")
    server, *others = compare_models.compare(run, run, LIMITS).rows
    assert (server.variant, server.verdict) == ("saved_model", "not compared")
    assert "server format" in server.reasons[0] and {row.verdict for row in others} == {"same file"}


def test_unverified_artifacts_are_named(old: Path, tmp_path: Path) -> None:
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * 2)
    (old / "parity.json").unlink()
    changed_json(new / "parity.json", lambda facts: facts["rows"][0].update(verdict="failed"))
    remarks = compare_models.compare(old, new, LIMITS).remarks
    assert f"B's tflite-fp32 did not pass verification (failed): {new}." in remarks
    assert f"A's tflite-fp32 did not pass verification (not verified): {old}." in remarks
    assert not any("B's onnx" in line for line in remarks)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("none", 2, "none: no such run or bundle."),
        ("loose.tflite", 2, "expected a finished run, or a bundle (folder or zip)"),
        ("empty", 2, "expected a finished run, or a bundle"),
    ],
)
def test_neither_run_nor_bundle(
    cli: Cli, old: Path, tmp_path: Path, name: str, code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose.tflite").write_bytes(b"TFL3")
    for pair in ((old, tmp_path / name), (tmp_path / name, old)):
        done = cli("compare", *pair, "--quiet")
        assert done.code == code and words in done.err


def test_models_take_turns(monkeypatch: pytest.MonkeyPatch, old: Path, tmp_path: Path) -> None:
    """A and B alternate, each begins as often, and the first stretch does not count."""
    new = fake_pairs.run(tmp_path / "new", lambda weights: weights * 2)
    asked: list[Any] = []

    def taken(session: Any, _images: Any, _minimum: Any) -> list[int]:
        asked.append(session)
        first = len(asked) <= 2
        return [10**9] * 50 if first else [2_000_000 if session is asked[1] else 3_000_000]

    monkeypatch.setattr(sandbox, "latencies", taken)
    row = compare_models.compare(old, new, LIMITS, variants=["tflite-fp32"]).rows[0]
    mine, other = asked[1], asked[0]
    assert (row.p50_ms_a, row.p50_ms_b) == (2.0, 3.0)
    assert asked == [other, mine, mine, other] * 3 + [other, mine]


def test_kernels_are_named(old: Path) -> None:
    rows = compare_models.compare(old, old, LIMITS, kernels="reference").rows
    assert [row.kernels for row in rows] == ["reference", "onnxruntime-cpu"]


def test_json_holds_everything(cli: Cli, old: Path) -> None:
    report = json.loads(cli("compare", old, old, "--quiet", "--json").out)
    assert report["a"] == {"path": str(old), "name": "tiny", "version": "1"}
    assert report["rows"][0]["p50_ms_b"] > 0 and report["limits"]["max_drop"] == 0.01
    assert report["machine"]["cores"] >= 1 and report["images"] == fake_pairs.COUNT


def shown(report: ComparedReport, width: int) -> tuple[str, tuple[str, ...]]:
    from rich.console import Console

    out = Console(width=width, record=True, file=io.StringIO())
    table, hidden = tables.compared_table(report, out)
    out.print(table)
    return out.export_text(), hidden


def test_table_fits_its_window(old: Path, tmp_path: Path) -> None:
    report = compare_models.compare(old, fake_pairs.run(tmp_path / "new", weaker), LIMITS)
    wide, hidden = shown(report, 120)
    assert hidden == () and "89.0% → 83.5%" in wide and "-5.5 pp" in wide and " 13 " in wide
    narrow, hidden = shown(report, 100)
    assert hidden and "worse" in narrow and "agree" not in narrow
