"""The card of a trained bundle."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command_line import Cli
from tests.helpers.model_cards import rows_of


def test_trained_bundle_verifies_with_its_card(small_run: Path, cli: Cli) -> None:
    text = (small_run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert set(rows_of(text, "artifact")) == {
        "Keras model", "saved_model", "tflite-fp32", "tflite-int8", "onnx-fp32"
    }  # fmt: skip
    assert rows_of(text, "class")["all"] == ["765", "135", "300"]
    assert str(small_run) not in text
    assert cli("verify", small_run / "bundle").code == 0


def test_changed_card_fails_verification(own_run: Path, cli: Cli) -> None:
    path = own_run / "bundle" / "MODEL_CARD.md"
    path.write_text(path.read_text() + "Author: fine.\n")
    done = cli("verify", own_run / "bundle")
    assert done.code == 4 and "MODEL_CARD.md" in done.err
