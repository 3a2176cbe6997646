"""Hold the text of a recipe that `tledge init` writes: the template, and the reason for each choice."""

from __future__ import annotations

TEMPLATE = """\
{header}

[recipe]
name = {name}
# The same photos and the same seed give the same splits and the same start.
seed = {seed}

[data]
{why_source}source = {source}{options}
{why_group}
group = "{group}"
{why_on_bad}
on_bad = "stop"

[data.splits]
{why_splits}
train = {train}
validation = {validation}
test = {test}

[model]
# MobileNetV2 is made for phones and smaller devices; with ImageNet weights few photos are enough.
backbone = "mobilenetv2"
weights = "imagenet"
{why_alpha}
alpha = {alpha}
{why_size}
image_size = {size}
# Drops a fifth of the features at random while training, against overfitting.
dropout = 0.2

[augment]
# Random changes, so that the model learns the label and not these particular photos.
# Switch off changes that would change a label: flip = "none" where left and right matter, as with letters
# or arrows; saturation = 0 where only a shade of colour tells labels apart.
flip = "horizontal"
rotation = 0.05
zoom = 0.2
translation = 0.1
brightness = 0.2
contrast = 0.2
saturation = 0.2
{why_views}
views = {views}

{why_head}
[[stage]]
name = "head"
epochs = {head}
learning_rate = 3e-3
# Cosine: the learning rate falls to zero towards the end of the stage.
schedule = "cosine"
{why_last}
restore_best = false{weights}

{why_tune}
[[stage]]
name = "fine-tune"
epochs = {tune}
unfreeze = "block_7_expand"
learning_rate = 3e-4
schedule = "cosine"
restore_best = false{weights}

{why_nothing_else}
"""

COMMANDS = """
#
# The comment above each choice gives the reason. Change what you know better, then type:
#
#   tledge data {file}            # decodes every photo once, counts the photos of each split
#   tledge train {file}           # trains, into runs/{name}
#   tledge export runs/{name} --int8   # converts, compares with Keras, bundles"""
"""The end of the header."""

REASONS = {
    "group near-duplicates": "Photos of one scene stay in one split. With near-duplicates in train and "
    "in another split, the score would be too good.",
    "group folders": "Your folders decide which photo is in which split, so no groups are needed.",
    "group alike": "Most photos of {alike} are near-duplicates of each other, as with a fixed camera: kept "
    "together, they would all be in one split, and the others had none of them. So they are not.\nNOTE: "
    "nearly equal photos are then in train and in test, and the score is too good. For an honest one, make "
    "folders train and test with photos of different days, or set group to a regular expression for what the "
    "names of one day or scene share.",
    "group too many": "Photos of one scene are not kept together: finding them among {plan.total:,} photos "
    'would take hours. group = "near-duplicates" finds them all the same. Without it, put whole bursts or '
    "videos into folders train and test yourself, or the test score will be too good.",
    "on bad": '"stop" ends with the name of a photo that cannot be decoded; "skip" leaves it out.',
    "on bad seen": "\nNOTE: {bad:,} of {folder.headers:,} photos looked at cannot be read: {unreadable}.",
    "splits train validation test": "Your three folders, unchanged. Validation is measured while "
    "training; test is scored once, at the end.",
    "splits train test": "Your test folder is scored once, at the end. Validation, measured while "
    "training, is taken from the train folder: {share:.0%} of each label, about {sizes[validation]:,}.",
    "splits train validation": "Your folder {held_out} is the only one kept apart, so it becomes test "
    "and is scored once, at the end; looking at it after every epoch would make its score too good. "
    "Validation, measured while training, is taken from the train folder instead: {share:.0%} of each "
    "label, about {sizes[validation]:,}.",
    "splits train": "There is no test folder, so shares are drawn at random. Test, scored once at the "
    "end, gets 20% of each label, about {sizes[test]:,}; validation, measured while training, "
    "{share:.0%}, about {sizes[validation]:,}. About {sizes[train]:,} are left to train on.",
    "few to test": "\nNOTE: {sizes[test]:,} test photos are few: each is {one:.1%} of the score. The int8 "
    "accuracy may drop by at most 1%, and detecting that needs {needed} photos. With fewer, the agreement of "
    "int8 with Keras decides, which needs no labels: the {sizes[validation]:,} validation photos count too, "
    "so none that is kept out of training is wasted. A larger share would be missed in training.",
    "more validation": "Validation is larger than the usual 15%, so that these {evidence:,} photos can "
    "settle the verdict.",
    "untested": "\nNOTE: there is no test photo of {untested}, so the score says nothing about it.",
    "alpha 0.35": "The narrowest network: small and fast. With {sizes[train]:,} photos to train on, a "
    "wider one gains little.",
    "alpha 1.0": "The full width, useful with {sizes[train]:,} photos to train on. The smallest is 0.35.",
    "size": "Half of your photos have a short side of {folder.median_side} pixels or more, the smallest "
    "{folder.min_side}.",
    "size enough": "That is enough for 224, the size that the backbone was trained for.",
    "size below": "{size} is the largest size with ImageNet weights for which this half is enlarged by a "
    "tenth at most.",
    "size least": "They are enlarged to {size}, the smallest size with ImageNet weights.",
    "views kept": "Epochs take turns with {views} augmentation copies: the unchanged photos, and changed "
    "ones, each made once in about {drawing} on one CPU core. 0 would augment again in every epoch.",
    "views fresh": "0 augments again in every epoch: the most variety, at little cost on a GPU. One CPU "
    "core takes {drawing} per epoch; without a GPU, 4 makes three changed copies once, and epochs take "
    "turns with these and the photos.",
    "head": "First only the new last layer, on the frozen backbone. Fewer photos get more epochs; an "
    "epoch has {steps:,} steps.",
    "weights": "\n{large} has {most:,} photos in train, {small} {least:,}. With balanced weights every "
    "label counts equally, so that the rare ones are learned too.",
    "last": "Keeps the weights of the last epoch, whose learning rate is the lowest.",
    "luck": "Choosing the best epoch by {sizes[validation]:,} validation photos would be partly luck.",
    "tune": "Then also the deeper part of the backbone, at a tenth of the learning rate, so that it "
    "adapts to your photos and forgets little.",
    "wider": "If the accuracy is too low, set alpha = 1.0: a wider network, larger and slower.",
    "photos": "More photos help most: taken where and how the model will be used, and of the label with "
    "the lowest recall.",
    "fewest": "The label with the fewest is {small}: {least:,} in train.",
    "defaults": "Export and parity gates are the defaults; [export] and [parity] change them.",
}
"""Reasons for the choices, to be filled in with the folder's figures."""
