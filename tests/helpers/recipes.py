"""Recipes of the smallest network, written as short as a test needs them."""

BARE = '[data]\nsource = "drawn"\n[model]\nbackbone = "tiny"\nweights = "none"\n[[stage]]\n'
"""Nothing but what every recipe must say."""


def drawn(train: int = 12, test: int = 6, size: int = 32) -> str:
    """The lines of `[data]` for that many drawn hands."""
    return f'source = "drawn"\ntrain = {train}\ntest = {test}\nsize = {size}'


def tiny_recipe(
    data: str, stages: str = "", *, share: float = 0.25, image_size: int = 32, model: str = ""
) -> str:
    """The smallest network on `data`, the lines of its table; `stages` goes on behind `[[stage]]`.

    `share` is that of validation in the training photos; `model` adds lines to `[model]`.
    """
    return f"""
[data]
{data}
[data.splits]
validation = {{ from = "train", fraction = {share} }}
[model]
backbone = "tiny"
weights = "none"
image_size = {image_size}
{model}
[[stage]]
{stages}
"""
