"""ONNX graphs: halves, canonical names, and what is seen in a file of the wrong kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.onnx_graphs import SIDE, answers, constants, graph, photos
from tledge._io.json_records import to_json
from tledge._version import __version__
from tledge.contract import InputSpec
from tledge.formats import onnx, onnx_conversion
from tledge.formats.jobs import CalibratedJob, CalibrationResult, ConversionTarget, UncalibratedJob
from tledge.quantization.onnx_int8 import correct_biases, fold_batch_norm
from tledge.runtime.sessions import OnnxSession

lib = pytest.importorskip("onnx")

pytest.importorskip("onnxruntime")


def test_halves_are_cast_back() -> None:
    model, images = graph(), photos()
    wanted = answers(model, images)
    onnx_conversion.halve(model)
    lib.checker.check_model(model, full_check=True)
    found = answers(model, images)
    assert {one.dtype.name for one in constants(model).values() if one.size > 8} == {"float16"}
    assert 0 < abs(found - wanted).max() < 5e-3


def test_names_are_canonical() -> None:
    """Models that differ in names only, as those of two processes do, give the same bytes."""
    one, other = graph(), graph("process_2/")
    assert one.SerializeToString() != other.SerializeToString()
    for model in (one, other):
        onnx_conversion._rename(model.graph)
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    assert one.graph.input[0].name == "image" and len(one.graph.initializer) == 11


def test_blank_images_span_the_range_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are no photos: in the means that biases are corrected by they would weigh as such."""
    monkeypatch.setattr(onnx_conversion, "_float_model", lambda _target: graph())
    np.save(tmp_path / "calibration.npy", photos()[:-2])
    out, plain = (str(tmp_path / name) for name in ("net.onnx", "plain.onnx"))
    target = ConversionTarget("", out, "int8", "net", "1", "", ("a", "b", "c"))
    result = onnx_conversion.convert(
        CalibratedJob(target, str(tmp_path / "calibration.npy"), bias_correction=True, uncorrected=plain)
    )
    assert isinstance(result.quantization, CalibrationResult)
    found = [correction.largest for correction in result.quantization.corrections or ()]
    wanted, other = (correct_biases(fold_batch_norm(graph()), some) for some in (photos()[:-2], photos()))
    assert found == pytest.approx([one.largest for one in wanted], rel=1e-3)
    assert found != pytest.approx([one.largest for one in other], rel=1e-3)
    for path in (out, plain):
        made = onnx.inspect(Path(path))
        assert made.inputs[0].scale == 1 and made.labels == ("a", "b", "c") and made.weights["int8"] > 600
    assert Path(out).read_bytes() != Path(plain).read_bytes()


@pytest.mark.parametrize("mode", ["fp32", "fp16"])
def test_a_file_says_what_it_is(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, without its bundle: names, classes, how photos are prepared for it, and any batch."""
    monkeypatch.setattr(onnx_conversion, "_float_model", lambda _target: graph("own_"))
    out = tmp_path / "net.onnx"
    target = ConversionTarget("", str(out), mode, "net", "1", "three things", ("a", "b", "c"))
    onnx_conversion.convert(UncalibratedJob(target))
    made = lib.load(out)
    lib.checker.check_model(made, full_check=True)
    assert made.opset_import[0].version == 17 and made.doc_string == "three things"
    found = onnx.inspect(out)
    assert (found.metadata["tledge"], found.labels) == (__version__, ("a", "b", "c"))
    wanted = {"input": to_json(InputSpec(SIDE, SIDE)), "output": "probabilities"}
    assert json.loads(found.metadata["contract"]) == wanted
    session = OnnxSession(out.read_bytes(), "net")
    for count in (1, 3):
        images = photos()[:count]
        given = session._session.run(["probabilities"], {"image": images})[0]
        np.testing.assert_allclose(given, answers(graph(), images), atol=1e-4)
