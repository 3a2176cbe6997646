"""What training shows: its plan first, then a table that fits 60 columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.recipes import BARE
from tledge.config import Model, Stage
from tledge.recipe import loader
from tledge.training import progress_lines

FIGURES = {"accuracy": 0.9123, "loss": 12.34567, "val_accuracy": 1.0, "val_loss": 1234567.0}


def test_table_is_aligned_and_narrow() -> None:
    stage = Stage(name="fine-tune", epochs=100)
    lines = [
        progress_lines.header(stage),
        progress_lines.row(stage, 9, FIGURES, is_best=True),
        progress_lines.row(stage, 100, {"loss": 0.5}, is_best=False),
    ]
    assert max(map(len, lines)) <= 60
    assert lines == [
        "stage       epoch     loss    acc  val loss  val acc  best",
        "fine-tune   9/100  12.3457  91.2%  1.23e+06   100.0%  *",
        "fine-tune 100/100   0.5000      –         –        –",
    ]


def test_plan_tells_what_is_trained() -> None:
    recipe = loader.parse(BARE, "tiny.toml")
    lines = progress_lines.plan(recipe, Path("runs/tiny"))
    text = "\n".join(lines)
    assert lines[0] == "Training tiny" and "folder      runs/tiny" in text
    assert f"{recipe.model.image_size} × {recipe.model.image_size} pixels" in text
    assert progress_lines.photos({"train": 1170, "validation": 1, "test": 0}, 3) == (
        "  photos      1,170 train, 1 validation, 0 test; 3 labels"
    )


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (Model(alpha=0.35), "mobilenetv2, alpha 0.35, ImageNet weights"),
        (Model(backbone="efficientnetv2b0", weights="none"), "efficientnetv2b0, random weights"),
        (Model(weights="mine.weights.h5"), "mobilenetv2, alpha 1, mine.weights.h5"),
        (Model(backbone="hub:/a/b"), "hub:/a/b, ImageNet weights"),
    ],
)
def test_network_is_named(table: Model, text: str) -> None:
    assert progress_lines.network(table) == text


def test_stages_count_from_one() -> None:
    stages = (Stage(name="head", epochs=1), Stage(name="all", epochs=9, patience=3))
    assert progress_lines.stage_line(stages, 0, "frozen") == "stage.0 head: frozen, 1 epoch"
    assert progress_lines.stage_line(stages, 1, "frozen") == "stage.1 all: frozen, up to 9 epochs"


def test_time_is_estimated_once_and_only_where_long() -> None:
    stage = Stage(name="head", epochs=22)
    assert progress_lines.time_left(stage, 2, 6.1) == "  head: about 3 min left (20 epochs)"
    assert progress_lines.time_left(stage, 2, 0.1) == progress_lines.time_left(stage, 3, 60.0) == ""
