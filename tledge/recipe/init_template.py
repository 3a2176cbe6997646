"""The words of a recipe that `tledge init` writes: the template, and the reason for each choice."""

from __future__ import annotations

TEMPLATE = """\
{header}

[recipe]
name = {name}
# The same photos and the same seed give the same splits and the same start.
seed = {seed}

[data]
source = {source}
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
# Drops a fifth of the features at random while training, against learning photos by heart.
dropout = 0.2

[augment]
# Random changes, so that the model learns what a label looks like and not these very photos.
# Switch off what would change a label: flip = "none" where left and right matter, as with letters
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
# Cosine: the steps shrink to nothing towards the end of the stage.
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
# Above each choice stands why it was made. Change what you know better, then type:
#
#   tledge data {file}            # reads every photo once, counts what each split gets
#   tledge train {file}           # trains, into runs/{name}
#   tledge export runs/{name} --int8   # converts, compares with the trained model, bundles"""
"""The end of the header."""

REASONS = {
    "group near-duplicates": "Photos of one scene stay in one split. With a photo in train and its twin in "
    "another split, the score would be too good.",
    "group folders": "Your folders say which photo is in which split: nothing has to be kept together.",
    "group too many": "Photos of one scene are not kept together: finding them compares every photo with "
    "every other, and {plan.total:,} are too many for that. If they are bursts or frames of videos, put "
    "whole bursts into folders train and test yourself, or the test score will be too good.",
    "on bad": 'A damaged photo stops the work and is named; "skip" goes on without it.',
    "on bad seen": "\nNOTE: {bad:,} of {folder.headers:,} photos looked at cannot be read: {unreadable}.",
    "splits train validation test": "Your three folders as they are. Validation is watched while training; "
    "test is scored once, at the end.",
    "splits train test": "Your test folder is scored once, at the end. What is watched while training is "
    "taken from the train folder: {share:.0%} of each label, about {sizes[validation]:,}.",
    "splits train validation": "Your folder {held_out} is the only one kept apart, so it becomes test and "
    "is scored once, at the end; looking at it after every epoch would make its score too good. What is "
    "watched while training is taken from the train folder instead: {share:.0%} of each label, about "
    "{sizes[validation]:,}.",
    "splits train": "No folder is kept apart, so shares are drawn. Test, scored once at the end, gets 20% "
    "of each label, about {sizes[test]:,}; validation, watched while training, {share:.0%}, about "
    "{sizes[validation]:,}. About {sizes[train]:,} are left to train on.",
    "few to test": "\nNOTE: {sizes[test]:,} photos are few to test on: each is {one:.1%} of the score. The "
    "int8 model may lose at most 1%, which takes 100 photos to see; with fewer the verdict is "
    '"undecided". Add test photos if you can.',
    "untested": "\nNOTE: there is no test photo of {untested}, so the score says nothing about it.",
    "alpha 0.35": "The narrowest: small and fast. With {sizes[train]:,} photos to train on, a wider one "
    "gains little.",
    "alpha 1.0": "The full width: {sizes[train]:,} photos to train on make use of it. The smallest is 0.35.",
    "size": "Half of your photos have a short side of {folder.median_side} pixels or more, the smallest "
    "{folder.min_side}.",
    "size enough": "That is enough for 224, the size that the backbone was made for.",
    "size below": "{size} is the largest size with ImageNet weights that enlarges this half by a tenth at "
    "most.",
    "size least": "They are enlarged to {size}, the smallest size with ImageNet weights.",
    "views kept": "Epochs take turns with {views} views: the photos as they are, and others drawn once, each "
    "in about {drawing} on one CPU core. 0 would draw anew in every epoch.",
    "views fresh": "0 draws anew in every epoch: the most variety, and a GPU does it in passing. One CPU "
    "core takes {drawing} an epoch; without a GPU, 4 draws three views once, and epochs take turns "
    "with these and the photos.",
    "head": "First the new last layer alone, on the backbone as it is. The fewer photos, the more epochs; "
    "one has {steps:,} steps.",
    "weights": "\n{large} has {most:,} photos in train, {small} {least:,}. With balanced weights every label "
    "counts alike, so that the rare ones are learned too.",
    "last": "Ends with the last epoch, whose steps are the smallest.",
    "luck": "Picking the best epoch by {sizes[validation]:,} validation photos would be partly luck.",
    "tune": "Then the deeper part of the backbone too, at a tenth of the learning rate, so that it adapts "
    "to your photos and forgets little.",
    "wider": "If the accuracy is too low, set alpha = 1.0: a wider network, larger and slower.",
    "photos": "More photos help most: taken where and how the model will be used, and of the label that "
    "does worst.",
    "fewest": "The fewest are of {small}: {least:,} in train.",
    "defaults": "What is exported and what it has to pass are defaults; [export] and [parity] change them.",
}
"""Why a choice was made, with the folder's own figures."""
