"""`tledge bench`: what is measured, what is said where it cannot be, and what a person sees."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import fake_artifacts
from tests.helpers.command_line import Cli
from tests.helpers.loose_models import onnx_model, write
from tledge._io import files
from tledge.environment.machine import Machine
from tledge.errors import ArtifactError, MissingError, RecipeError
from tledge.inference import bench
from tledge.inference.bench import BenchReport, Measure
from tledge.inference.bench_worker import MeasurementJob, Reading
from tledge.run.folder import is_run
from tledge.runtime.latency import Minimum
from tledge.visualization import plots

NOW = Minimum(2, 0.0)
READING = Reading(1.5, 2.25, 3.0, 4.0, 400.0, 100, 1.0, 50.0, 8.0)
MACHINE = Machine("Slow Chip 9", "z80", 4, 2048, "CP/M 2.2", "3.11.7", {"numpy": "2.0"}, 0.1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a clock."""
    monkeypatch.setattr(bench, "QUICK", NOW)
    monkeypatch.setattr(bench, "WARM_UP", NOW)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[MeasurementJob]:
    """Every job that was asked for, each answered at once on a known machine."""
    asked: list[MeasurementJob] = []

    def answer(job: MeasurementJob, _scratch: Path) -> Reading:
        asked.append(job)
        return READING

    monkeypatch.setattr(bench, "_measure_in_worker", answer)
    monkeypatch.setattr(bench.machine, "current_machine", lambda: MACHINE)
    return asked


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return fake_artifacts.bundle(tmp_path / "bundle")


def worker_code(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let other code run in the place of the measuring process."""
    monkeypatch.setattr(bench, "worker_command", lambda *_paths: [sys.executable, "-c", code])


def listing(folder: Path) -> dict[str, str]:
    return {str(path): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_default_threads_double(cores: int, counts: list[int]) -> None:
    assert bench.default_threads(cores) == counts


@pytest.mark.parametrize("text", ["", "x", "1,", "0", "1,-2", "1.5", "1 2", "1025"])
def test_bad_threads_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="expected whole numbers from 1 to 1024, such as 1,4"):
        bench.parse_threads(text)


def test_bad_threads_are_two(cli: Cli, bundle: Path, jobs: list[MeasurementJob]) -> None:
    assert bench.parse_threads("4, 1,4") == [1, 4]
    for text in ("two", ""):
        done = cli("bench", bundle, "--threads", text)
        assert done.code == 2 and f"--threads {text}: expected" in done.err
    assert jobs == []


def test_bundle_is_measured_for_real(bundle: Path) -> None:
    before = listing(bundle)
    report = bench.bench(bundle, threads=[1], kernels=["xnnpack"])
    assert listing(bundle) == before
    server, lite, onnx = report.rows
    assert (server.status, server.kernels, server.p50_ms) == ("skipped", "", None)
    assert "server format" in server.reason
    for row, kernels in ((lite, "xnnpack"), (onnx, "onnxruntime-cpu")):
        assert (row.status, row.kernels, row.threads, row.queries) == ("measured", kernels, 1, 2), row.reason
        assert row.p50_ms and row.p99_ms and row.load_ms and row.images_per_second
        assert row.peak_mib and row.model_mib is not None and row.model_mib < row.peak_mib < 500
        assert (row.accuracy, row.verdict, row.accuracy_kernels) == (0.9, "passed", kernels)
    assert report.machine.packages["numpy"] and report.name == "tiny"


def test_zip_is_measured_as_its_folder(bundle: Path, jobs: list[MeasurementJob]) -> None:
    packed = bundle.parent / "tiny-1.zip"
    files.canonical_zip(bundle, packed)
    assert bench.bench(packed).rows == bench.bench(bundle).rows
    assert len(jobs) == 14 and zipfile.is_zipfile(packed)


def test_every_configuration_has_a_row(bundle: Path, jobs: list[MeasurementJob]) -> None:
    report = bench.bench(bundle)
    found = [(row.variant, row.kernels, row.threads) for row in report.rows if row.kernels]
    lite = [("xnnpack", 1), ("xnnpack", 2), ("xnnpack", 4), ("reference", 1)]
    onnx = [("onnxruntime-cpu", count) for count in (1, 2, 4)]
    assert found == [("tflite-fp32", *one) for one in lite] + [("onnx-fp32", *one) for one in onnx]
    assert [(job.kernels, job.threads) for job in jobs] == lite + onnx
    assert bench.ONE_THREAD in report.remarks
    assert not any("one thread" in line for line in bench.bench(bundle, threads=[1]).remarks)


def test_official_asks_for_more(bundle: Path, jobs: list[MeasurementJob]) -> None:
    report = bench.bench(bundle, official=True)
    assert {job.minimum for job in jobs} == {Minimum(1024, 60.0)}
    assert report.official and report.minimum == Minimum(1024, 60.0)
    assert not bench.bench(bundle).official and jobs[-1].minimum == NOW


def test_int16_is_never_called_xnnpack(tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    (tmp_path / "wide.tflite").write_bytes(fake_artifacts.tflite(wide=True))
    report = bench.bench(tmp_path / "wide.tflite", threads=[1])
    assert [row.kernels for row in report.rows] == ["builtin", "reference"]
    assert "wide: XNNPACK computes no int16 activations" in report.remarks[0]
    (tmp_path / "plain.tflite").write_bytes(fake_artifacts.tflite())
    plain = bench.bench(tmp_path / "plain.tflite", threads=[1])
    assert [row.kernels for row in plain.rows] == ["xnnpack", "reference"] and plain.remarks == ()


def test_variant_chooses(bundle: Path, jobs: list[MeasurementJob]) -> None:
    report = bench.bench(bundle, variants=["onnx-fp32"])
    assert {row.variant for row in report.rows} == {"onnx-fp32"}
    with pytest.raises(
        RecipeError, match=r"tflite-int8: not available\. Expected one of saved_model, tflite-fp32"
    ):
        bench.bench(bundle, variants=["tflite-int8"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "was killed (SIGKILL), usually because memory",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("import os; print('last words'); os.abort()", "crashed (SIGABRT)"),
        ("raise SystemExit('no room left')", "failed (exit code 1). Its last output: no room left"),
        ("pass", "failed (exit code 0)"),
    ],
)
def test_crash_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str) -> None:
    worker_code(monkeypatch, code)
    rows = bench.bench(bundle, threads=[1], kernels=["xnnpack"], variants=["tflite-fp32"]).rows
    assert [row.status for row in rows] == ["failed"]
    assert rows[0].reason.startswith("tflite-fp32.tflite: the measuring process ")
    assert words in rows[0].reason and rows[0].p50_ms is None


def test_crash_after_the_result_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it ends has not shown that the artifact runs."""
    code = (
        "import os, sys; from tledge.inference import bench_worker as worker; worker.main(*sys.argv[1:]); "
        "os.kill(os.getpid(), 11)"
    )
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(bench, "worker_command", lambda *paths: [*command, *map(str, paths)])
    rows = bench.bench(bundle, threads=[1], kernels=["xnnpack"], variants=["tflite-fp32"]).rows
    assert rows[0].status == "failed" and "crashed (SIGSEGV)" in rows[0].reason


def test_result_of_another_is_never_taken(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process answers, the second ends without a word."""
    reading = {"reading": asdict(READING)}
    code = (
        "import json, sys; job = json.load(open(sys.argv[1]))\n"
        f"if job['threads'] == 1: json.dump({reading!r}, open(sys.argv[2], 'w'))"
    )
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(bench, "worker_command", lambda *paths: [*command, *map(str, paths)])
    rows = bench.bench(bundle, threads=[1, 2], variants=["onnx-fp32"]).rows
    assert [(row.status, row.p50_ms) for row in rows] == [("measured", 2.25), ("failed", None)]


def test_crash_of_one_leaves_the_others(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job: MeasurementJob, _scratch: Path) -> Reading:
        if job.model.endswith(".onnx"):
            raise ArtifactError("the measuring process crashed (SIGILL).")
        return READING

    monkeypatch.setattr(bench, "_measure_in_worker", answer)
    done = cli("bench", bundle, "--threads", "1", "--quiet")
    assert done.code == 4 and "could not be measured: onnx-fp32." in done.err
    assert re.search(r"tflite-fp32 .* 2\.25 .* 400 ", done.out)
    assert "onnx-fp32 onnxruntime-cpu x 1 failed: the measuring process crashed (SIGILL)." in done.out
    assert "Next:" not in done.out


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_artifact_is_four(cli: Cli, bundle: Path, jobs: list[MeasurementJob], damage: str) -> None:
    file = bundle / "tflite-fp32.tflite"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff") if damage == "changed" else file.unlink()
    done = cli("bench", bundle, "--json", "--quiet")
    rows = {row["variant"]: row for row in json.loads(done.out)["rows"]}
    assert done.code == 4 and "could not be measured: tflite-fp32" in done.err
    assert rows["tflite-fp32"]["status"] == "failed"
    assert ("SHA-256 differs" if damage == "changed" else "no file") in rows["tflite-fp32"]["reason"]
    assert rows["onnx-fp32"]["status"] == "measured" and {Path(job.model).suffix for job in jobs} == {".onnx"}


@pytest.mark.parametrize("data", [b"", b"\x1c\0\0\0TFL3" + bytes(900), b"<html>" * 50])
def test_garbage_file_is_four(cli: Cli, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.tflite").write_bytes(data)
    done = cli("bench", tmp_path / "bad.tflite", "--threads", "1", "--kernels", "xnnpack", "--quiet")
    assert done.code == 4 and "bad xnnpack x 1 failed: bad.tflite: " in done.out
    assert "Traceback" not in done.out + done.err


def test_wrong_input_is_a_reason(tmp_path: Path) -> None:
    """The golden pixels do not fit: another model under this name."""
    bundle = fake_artifacts.bundle(tmp_path / "bundle")
    (bundle / "tflite-fp32.tflite").write_bytes(fake_artifacts.tflite(size=9))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["artifacts"][1]["sha256"] = files.sha256(bundle / "tflite-fp32.tflite")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    row, *_others = bench.bench(bundle, threads=[1], variants=["tflite-fp32"]).rows
    assert row.status == "failed" and "takes images (9, 9, 3), got (8, 8, 3)" in row.reason


def test_missing_runtime_is_skipped(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job: MeasurementJob, _scratch: Path) -> Reading:
        if job.model.endswith(".onnx"):
            raise MissingError("needs ONNX Runtime: pip install onnxruntime")
        return READING

    monkeypatch.setattr(bench, "_measure_in_worker", answer)
    done = cli("bench", bundle, "--threads", "1", "--quiet")
    assert done.code == 0 and "onnxruntime-cpu x 1 skipped: needs ONNX Runtime" in done.out
    done = cli("bench", bundle, "--variant", "onnx-fp32", "--quiet")
    assert done.code == 5 and "No artifact could be measured here" in done.err


def test_nothing_measured_keeps_earlier_figures(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_rest: object) -> Reading:
        raise MissingError("needs ONNX Runtime: pip install onnxruntime")

    folder = fake_artifacts.run(tmp_path / "run")
    (folder / "bench.json").write_text("{}")
    monkeypatch.setattr(bench, "_measure_in_worker", missing)
    done = cli("bench", folder, "--variant", "onnx-fp32", "--quiet")
    assert done.code == 5 and "keeps its earlier figures" in done.out
    assert (folder / "bench.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "no such bundle, run or model file"),
        ("notes.txt", "expected a bundle"),
        (".", "expected a bundle"),
    ],
)
def test_nothing_to_measure_is_two(cli: Cli, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    done = cli("bench", tmp_path / name)
    assert done.code == 2 and words in done.err


def test_bundle_without_pixels_is_four(cli: Cli, bundle: Path) -> None:
    (bundle / "golden" / "pixels.npy").unlink()
    done = cli("bench", bundle)
    assert done.code == 4 and "no pixels to feed" in done.err


def test_manifest_cannot_write_elsewhere(bundle: Path, jobs: list[MeasurementJob]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["artifacts"][1]["path"] = "../outside.tflite"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle.parent / "outside.tflite").write_bytes(fake_artifacts.tflite())
    with pytest.raises(ArtifactError, match=r"artifacts\[1\]\.path is '\.\./outside\.tflite'"):
        bench.bench(bundle, variants=["tflite-fp32"])
    assert jobs == []


def test_json_has_every_field(cli: Cli, bundle: Path, jobs: list[MeasurementJob]) -> None:
    found = json.loads(cli("bench", bundle, "--json", "--quiet").out)
    assert set(found) == {one.name for one in fields(BenchReport)}
    assert set(found["machine"]) == {one.name for one in fields(Machine)}
    for row in found["rows"]:
        assert set(row) == {one.name for one in fields(Measure)}
    assert found["rows"][1]["p90_ms"] == 3.0 and found["rows"][1]["peak_mib"] == 50.0
    assert found["machine"]["processor"] == "Slow Chip 9" and "phone" in found["note"]


def test_table_names_machine_and_caution(cli: Cli, bundle: Path, jobs: list[MeasurementJob]) -> None:
    done = cli("bench", bundle)
    lines = done.out.splitlines()
    assert sum("xnnpack" in line and "2.25" in line for line in lines) == 3
    assert "Measured on Slow Chip 9 (z80, 4 cores, 2 GiB), CP/M 2.2, Python 3.11.7, numpy 2.0." in lines
    assert any("A phone differs from a desktop" in line for line in lines)
    assert "found with xnnpack: the other kernels above may differ" in done.out
    assert lines[-1] == f"Next: tledge bench {bundle} --official"
    assert (
        cli("bench", bundle, "--official").out.splitlines()[-1] == f"Next: tledge predict {bundle} PHOTO.jpg"
    )


def test_synthetic_photos_are_said(tmp_path: Path, bundle: Path, jobs: list[MeasurementJob]) -> None:
    folder = fake_artifacts.run(tmp_path / "run")
    for path, file in ((bundle, bundle / "manifest.json"), (folder, folder / "run.json")):
        assert bench.SYNTHETIC not in bench.bench(path).remarks
        file.write_text(json.dumps({**json.loads(file.read_text()), "synthetic": True}))
        assert bench.SYNTHETIC in bench.bench(path).remarks


def test_busy_machine_is_said(
    bundle: Path, jobs: list[MeasurementJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("load average" in line for line in bench.bench(bundle).remarks)
    monkeypatch.setattr(bench.machine, "current_machine", lambda: replace(MACHINE, load=3.5))
    assert any("load average 3.5 on 4 cores" in line for line in bench.bench(bundle).remarks)


def test_unproven_artifact_is_said(tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    folder = fake_artifacts.run(tmp_path / "run")
    report = json.loads((folder / "parity.json").read_text())
    report["rows"][1]["verdict"] = "failed"
    (folder / "parity.json").write_text(json.dumps(report))
    assert "tflite-fp32 did not pass verification (failed)." in bench.bench(folder).remarks


@pytest.mark.parametrize("width", [60, 80, 90, 120])
def test_narrow_table_keeps_figures_whole(bundle: Path, jobs: list[MeasurementJob], width: int) -> None:
    from rich.console import Console

    from tledge.cli import tables

    out = Console(width=width, record=True, quiet=False)
    table, hidden = tables.bench_table(bench.bench(bundle), out)
    with out.capture() as caught:
        out.print(table)
    assert ("model MiB" in hidden) == (width < 100)
    if width >= 80:
        assert "…" not in caught.get() and "onnxruntime-cpu" in caught.get()
        assert caught.get().count(" 2.25") == 7 and "skipped" in caught.get()


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0412, "0.041"), (2.254, "2.25"), (16.04, "16.0"), (25641.3, "25641")]
)
def test_figures_have_three_digits(value: float | None, text: str) -> None:
    from tledge.cli import tables

    assert tables._short(value) == text


def test_run_gets_its_files(cli: Cli, tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    pytest.importorskip("matplotlib")
    folder = fake_artifacts.run(tmp_path / "run")
    done = cli("bench", folder, "--json")
    assert done.code == 0, done.err
    assert json.loads((folder / "bench.json").read_text()) == json.loads(done.out)
    assert json.loads(done.out)["rows"][1]["accuracy"] == 0.85
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert {Path(job.model).parent for job in jobs} == {folder / "artifacts"}
    assert {Path(job.images).suffix for job in jobs} == {".npy"}


def test_unverified_run_has_no_plot(cli: Cli, tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    folder = fake_artifacts.run(tmp_path / "run")
    (folder / "parity.json").unlink()
    done = cli("bench", folder, "--quiet")
    assert done.code == 0 and "No plot: no measured artifact has a known accuracy" in done.out
    assert (folder / "bench.json").is_file() and not (folder / "bench.png").exists()
    done = cli("bench", folder, "--quiet", "--out", tmp_path / "plot.png")
    assert done.code == 1 and "tledge verify" in done.err and not (tmp_path / "plot.png").exists()


def test_accuracy_of_another_file_is_not_taken(tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    """Exported anew since: the parity report is about the file before."""
    folder = fake_artifacts.run(tmp_path / "run")
    report = json.loads((folder / "parity.json").read_text())
    report["rows"][1]["sha256"] = "0" * 64
    (folder / "parity.json").write_text(json.dumps(report))
    rows = {row.variant: row for row in bench.bench(folder).rows}
    assert rows["tflite-fp32"].accuracy is None and rows["tflite-fp32"].verdict == ""
    assert rows["onnx-fp32"].accuracy == 0.85


def test_changed_artifact_of_a_run_is_named(tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    folder = fake_artifacts.run(tmp_path / "run")
    (folder / "artifacts" / "tflite-fp32.tflite").write_bytes(fake_artifacts.tflite(size=9))
    (folder / "artifacts" / "onnx-fp32.onnx").unlink()
    reasons = {row.variant: row.reason for row in bench.bench(folder).rows}
    assert "changed after it was exported" in reasons["tflite-fp32"]
    assert "is missing. Export again." in reasons["onnx-fp32"] and jobs == []


def test_plot_is_drawn_where_asked(
    cli: Cli, bundle: Path, jobs: list[MeasurementJob], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = cli("bench", bundle, "--out", tmp_path / "deep" / "plot.png", "--quiet")
    assert done.code == 0 and f"Written: {tmp_path / 'deep' / 'plot.png'}" in done.out
    assert (tmp_path / "deep" / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("slowest", "scale"), [(12.0, "linear"), (900.0, "log")])
def test_wide_plot_is_logarithmic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowest: float, scale: str
) -> None:
    pytest.importorskip("matplotlib")
    kept: list[Any] = []
    save = plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, path: (kept.append(figure), save(figure, path)))
    points = [
        plots.Point("tflite-fp32", "xnnpack", 1, 3.0, 0.97),
        plots.Point("tflite-fp32", "xnnpack", 2, 2.0, 0.97),
        plots.Point("tflite-int8", "reference", 1, slowest, 0.99),
    ]
    plots.tradeoff(points, tmp_path / "a.png", "title", "below")
    (axis,) = kept[0].axes
    assert axis.get_xscale() == scale
    assert [line.get_label() for line in axis.lines] == ["tflite-fp32, xnnpack", "tflite-int8, reference"]
    assert list(axis.lines[0].get_xdata()) == [3.0, 2.0] and list(axis.lines[0].get_ydata()) == [97.0, 97.0]
    assert [text.get_text() for text in axis.texts] == ["1", "2", "1"]
    low, high = axis.get_ylim()
    assert low < 97 and high > 99 and high - low >= 2


@pytest.mark.parametrize("name", ["plot.jpg", "plot", "folder.png"])
def test_plot_is_a_png_file(
    cli: Cli, bundle: Path, jobs: list[MeasurementJob], tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    done = cli("bench", bundle, "--out", tmp_path / name)
    assert done.code == 2 and "expected a PNG file" in done.err and jobs == []


def test_plot_of_a_loose_file_is_refused(cli: Cli, tmp_path: Path, jobs: list[MeasurementJob]) -> None:
    (tmp_path / "tiny.tflite").write_bytes(fake_artifacts.tflite())
    done = cli("bench", tmp_path / "tiny.tflite", "--out", tmp_path / "plot.png")
    assert done.code == 2 and "single file without a known accuracy" in done.err and jobs == []
    assert cli("bench", tmp_path / "tiny.tflite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tflite"]


def test_plot_never_enters_a_bundle(cli: Cli, bundle: Path, jobs: list[MeasurementJob]) -> None:
    done = cli("bench", bundle, "--out", bundle / "golden" / "plot.png")
    assert done.code == 2 and "SHA256SUMS" in done.err and jobs == []


def test_missing_matplotlib_is_five(
    cli: Cli, bundle: Path, jobs: list[MeasurementJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    done = cli("bench", bundle, "--out", tmp_path / "plot.png")
    assert done.code == 5 and "pip install 'tledge[train]'" in done.err and jobs == []
    folder = fake_artifacts.run(tmp_path / "run")
    done = cli("bench", folder)
    assert done.code == 0 and "No plot: matplotlib is not installed" in done.out


def test_newest_run_is_measured(
    cli: Cli, tmp_path: Path, jobs: list[MeasurementJob], monkeypatch: Any
) -> None:
    fake_artifacts.run(tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    done = cli("bench", "--quiet", "--variant", "tflite-fp32")
    assert done.code == 0 and "Written: runs/mine/bench.json" in done.out
    assert is_run(Path("runs/mine"))


def test_nothing_named_is_no_missing_library() -> None:
    from tledge.cli.bench import _end

    machine = Machine(**dict.fromkeys((one.name for one in fields(Machine)), ""))  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="lists no artifact"):
        _end(BenchReport("x", "x", machine, False, Minimum(1, 0.0), (), ()))


def test_loose_files_are_measured_as_they_take_images(tmp_path: Path) -> None:
    """Planes of floats, and a size that only the user knows."""
    planes = write(tmp_path / "planes", onnx_model(nchw=True))
    assert [row.status for row in bench.bench(planes, threads=[1]).rows] == ["measured"]
    free = write(tmp_path / "free", onnx_model(size=("H", "W")))
    with pytest.raises(RecipeError, match=r"any size\. Add --image-size"):
        bench.bench(free, threads=[1])
    drawn = bench._draw_input(free, (9, 7), tmp_path)
    assert drawn and np.load(drawn).shape == (4, 9, 7, 3) and np.load(drawn).dtype == np.float32
