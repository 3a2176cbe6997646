"""Recipes as text, short and full, and how a refusal has to end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from tledge.errors import RecipeError
from tledge.recipe.definition import Recipe
from tledge.recipe.loader import parse

SMALL = """\
[data]
source = "drawn"

[model]
backbone = "tiny"
weights = "none"

[[stage]]
epochs = 1
"""

FULL = """\
[recipe]
name = "hands"
version = "2.1"
seed = 7

[data]
source = "drawn"
size = 64
group = "near-duplicates"

[data.splits]
validation = { from = "train", fraction = 0.25 }
test = "test"

[model]
backbone = "mobilenetv2"
alpha = 0.35
head = [64, 32]

[augment]
flip = "horizontal"
rotation = 0.1

[[stage]]
name = "head"
epochs = 3

[[stage]]
unfreeze = "block_15_expand"
learning_rate = 1

[export]
variants = ["tflite-int8"]

[export.calibration]
images = 50

[abstain]
give_up = 0

[expect]
test_accuracy = 0.9
"""

TEXT = st.text("abeflnrtx0195_-+.=[]{}#,:\"'\\ \n\t²é🌷\0", max_size=30)

ANYTHING = settings(max_examples=80, deadline=None, database=None, derandomize=True)


def ends_well(text: str, *overrides: str) -> None:
    """Nothing but a Recipe or a RecipeError."""
    try:
        assert isinstance(parse(text, "fuzz.toml", overrides), Recipe)
    except RecipeError as error:
        assert str(error).startswith(("fuzz.toml: ", "--set "))
