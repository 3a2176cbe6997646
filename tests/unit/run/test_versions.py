"""Versions of trainings: the same bytes give the same one, others another one."""

from pathlib import Path

import pytest

from tledge.run import versions


@pytest.mark.parametrize(
    ("version", "expected"), [("1", "1+"), ("2.0.1", "2.0.1+"), ("1.0+field", "1.0+field.")]
)
def test_hash_is_build_metadata(tmp_path: Path, version: str, expected: str) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(b"network")
    made = versions.of_models(version, model, tmp_path / "quantize_aware.keras")
    assert made == expected + "3009be76" and made == versions.of_models(version, model)


def test_each_model_counts(tmp_path: Path) -> None:
    model, student = tmp_path / "model.keras", tmp_path / "quantize_aware.keras"
    assert versions.of_models("1", model, student) == "1"
    seen = set()
    for first, second in ((b"a", b""), (b"b", b""), (b"b", b"c"), (b"b", b"d")):
        model.write_bytes(first)
        student.write_bytes(second)
        seen.add(versions.of_models("1", model, student))
    assert len(seen) == 4
