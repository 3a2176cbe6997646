"""`MODEL_CARD.md` of a bundle: what was measured, and marked gaps for what only its author knows.

In the manner of Mitchell et al., "Model Cards for Model Reporting" (2019). Nothing in it is taken
for granted: a figure comes from the run's files, or its place says that it was not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tledge.bundle.run_summary import Summary
from tledge.contract import OUTPUT_NAME
from tledge.data.sources.registry import SOURCES
from tledge.metrics import per_class, statistics
from tledge.metrics.parity_gates import MIN_CLASS_IMAGES
from tledge.metrics.per_class import Recall
from tledge.run.records import ParityRow
from tledge.visualization.text_format import NONE, kib, points, share, span, unsure

MOST_CLASSES = 30
"""Classes that a table has lines for; of more, totals are given."""

MOST_WEAK = 5
"""Weak classes that are named of each model."""


def text(known: Summary, rows: Sequence[ParityRow], version: str) -> str:
    """The card of a run whose `rows` are bundled, written by tledge `version`."""
    run = known.run
    parts = [
        f"# {run.name} {run.version}: model card",
        f"Written by tledge {version} from what it measured. What is marked **Author** nobody measured: fill "
        "it in, or say that it is not known.",
        *_model(known),
        *_intended(known),
        *_data(known),
        *_accuracy(known, rows),
        *_weak(known, rows),
        *_limits(known),
        *_contract(known),
        *_files(rows),
        *_versions(known),
        *_upkeep(),
    ]
    return "\n\n".join(parts) + "\n"


def _gap(what: str) -> str:
    """A place for what only the author knows."""
    return f"> **Author:** {what}"


def cell(value: object) -> str:
    """Text that stays in its cell of a Markdown table, and is no markup."""
    plain = " ".join(str(value).split())
    return "".join(f"\\{one}" if one in "\\|`*_<>[]" else one for one in plain)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _model(known: Summary) -> Iterator[str]:
    run = known.run
    yield "## Model"
    if run.description:
        yield f"{cell(run.description)}."
    yield (
        f"An image classifier: one of {len(run.labels)} labels an image. Backbone `{run.backbone}`, "
        f"{run.parameters:,} parameters, trained on {run.train_images} images with seed {run.seed}."
    )
    if run.synthetic:
        yield "**Trained and measured on synthetic images that tledge drew itself, not on photos.**"
    yield _gap("who made this model, how to reach them, under which licence it may be used.")


def _intended(known: Summary) -> Iterator[str]:
    taken = known.run.input
    yield "## Intended input"
    yield (
        f"Colour images that show one thing of one class each. They are prepared to {taken.height} x "
        f"{taken.width} pixels whatever their shape was (see the contract below)."
    )
    yield _gap("what the model is for, by whom, on which device, and what it must not be used for.")


def _data(known: Summary) -> Iterator[str]:
    yield "## Data"
    yield _source(known)
    if known.counts:
        yield table(("class", *known.counts), _count_rows(known))
    else:
        yield _gap("how many images of each class it was trained on; the run did not note it.")
    skipped = known.run.skipped
    if skipped:
        yield f"Left out because they could not be read: {len(skipped)} photos."
    if problems := known.photos.get("problems"):
        yield "\n".join(f"- {cell(line)}" for line in problems[:MOST_CLASSES])
        if len(problems) > MOST_CLASSES:
            yield f"And {len(problems) - MOST_CLASSES} more, in the run's `evidence/photos.json`."
    elif known.photos:
        yield "No photo was found twice, and no class is far larger than another."
    yield _gap("who took the photos, of whom or what, where and when, and whom they leave out.")


def _source(known: Summary) -> str:
    if known.recipe is None:
        return _gap("where the images come from, and under which licence.")
    data = known.recipe.data
    what = f"Source: `{data.source}` ({SOURCES[data.source.partition(':')[0]].summary})."
    if known.run.synthetic:
        return what
    if data.licence:
        return f"{what} Licence of the photos, as the recipe states it: {cell(data.licence)}."
    return f"{what}\n\n{_gap('the licence of the photos; the recipe states none (`[data] licence`).')}"


def _count_rows(known: Summary) -> list[list[object]]:
    splits = known.counts
    totals = ["all", *(sum(one.values()) for one in splits.values())]
    labels = known.run.labels if len(known.run.labels) <= MOST_CLASSES else ()
    return [*([label, *(one.get(label, 0) for one in splits.values())] for label in labels), totals]


def _accuracy(known: Summary, rows: Sequence[ParityRow]) -> Iterator[str]:
    test = known.run.test
    yield "## Measured accuracy"
    yield (
        f"On the {test.images} images of the test split. Intervals are 95 %: Wilson's of an accuracy, of a "
        "change the paired bootstrap's. Agreement is the share of images that an artifact answers as the "
        "Keras model does."
    )
    keras = ["Keras model", NONE, share(test.accuracy), span(test.low, test.high), NONE, NONE, "reference"]
    head = ("artifact", "KiB", "accuracy", "95 % interval", "change", "agreement", "verdict")
    yield table(head, [keras, *map(_accuracy_row, rows)])
    if test.top5 is not None:
        yield f"The right label is among the Keras model's first five for {share(test.top5)} of the images."
    if known.parity and known.parity.reference.images != test.images:
        yield (
            f"Artifacts were compared on {known.parity.reference.images} of these, on which the Keras model "
            f"scores {share(known.parity.reference.accuracy)}."
        )
    lines = [f"- `{row.variant}`: {cell(line)}" for row in rows for line in (*row.reasons, *row.remarks)]
    if lines:
        yield "\n".join(lines)
    yield _gap("how it does where it is used: other people, light, cameras, places than in the tests.")


def _accuracy_row(row: ParityRow) -> list[str]:
    low, high = accuracy_interval(row) or (None, None)
    change = points(row.accuracy_change, row.change_low, row.change_high)
    figures = [share(row.accuracy), span(low, high) or NONE, change, share(row.agreement)]
    return [row.variant, kib(row.bytes), *figures, row.verdict]


def accuracy_interval(row: ParityRow) -> tuple[float, float] | None:
    """The 95 % Wilson interval of an artifact's accuracy; None where none was measured."""
    if row.accuracy is None or not row.images:
        return None
    return statistics.wilson(round(row.accuracy * row.images), row.images)


def _weak(known: Summary, rows: Sequence[ParityRow]) -> Iterator[str]:
    yield "## Known weak classes"
    measured = [row for row in rows if row.recall]
    if not measured:
        yield "Recall by class was not measured."
        return
    accuracy = known.parity.reference.accuracy if known.parity else known.run.test.accuracy
    keras = [
        per_class.recall_of(label, images, before)
        for label, (images, before, _after) in measured[0].recall.items()
    ]
    yield _weak_line("Keras model", keras, accuracy)
    same = [row.variant for row in measured if _same_recall(row)]
    for row in (one for one in measured if one.variant not in same):
        own = [per_class.recall_of(label, images, after) for label, (images, _, after) in row.recall.items()]
        yield _weak_line(f"`{row.variant}`", own, row.accuracy or 0.0)
    if same:
        yield f"The same recall in every class: {', '.join(f'`{name}`' for name in same)}."
    few = [one.label for one in keras if one.images < MIN_CLASS_IMAGES]
    if few:
        yield f"Too few test images to tell (under {MIN_CLASS_IMAGES}): {cell(', '.join(few))}."


def _same_recall(row: ParityRow) -> bool:
    return all(before == after for _images, before, after in row.recall.values())


def _weak_line(name: str, classes: list[Recall], accuracy: float) -> str:
    found = per_class.weak(classes, accuracy)
    if found:
        told = ", ".join(
            f"{cell(one.label)} {share(one.recall)} ({span(one.low, one.high)}, {one.images} images)"
            for one in found[:MOST_WEAK]
        )
        more = f" and {len(found) - MOST_WEAK} more" if len(found) > MOST_WEAK else ""
        return f"{name}: recall is below its accuracy by more than chance explains in {told}{more}."
    worst = min(classes, key=lambda one: one.recall)
    return (
        f"{name}: none stands out by more than chance explains. The lowest recall is that of "
        f"{cell(worst.label)}, {share(worst.recall)} ({span(worst.low, worst.high)}, {worst.images} images)."
    )


def _limits(known: Summary) -> Iterator[str]:
    yield "## Limits"
    lines = ["- A verdict holds for the images that it was measured on."]
    if fitted := known.run.confidence:
        lines.append(f"- Unsure: {unsure(fitted)}. Things of no class are noticed only in part.")
    if known.parity and known.parity.reference.ece is not None:
        lines.append(
            "- How far the Keras model's confidence is from its accuracy, on average (expected calibration "
            f"error): {share(known.parity.reference.ece)}."
        )
    yield "\n".join(lines)
    yield _gap("what goes wrong when it is wrong, and for whom; what was done about it.")


def _contract(known: Summary) -> Iterator[str]:
    taken = known.run.input
    yield "## Contract"
    yield "\n".join(
        (
            f"- Input: `{taken.dtype}[N, {taken.height}, {taken.width}, 3]`, {taken.layout}, {taken.color} "
            f"bytes {taken.low} to {taken.high}; N is 1 for TFLite. The scaling lies inside the model.",
            f"- Preparation: EXIF orientation, {taken.color}, {taken.fit} to size with {taken.resize} "
            "(Pillow's `BILINEAR`).",
            f"- Output: `{OUTPUT_NAME}`, one probability for each of {len(known.run.labels)} classes, in the "
            "order of `labels.txt`.",
            "- All of it for programs: `manifest.json`. Photos with the answers to expect: `golden/`.",
        )
    )


def _files(rows: Sequence[ParityRow]) -> Iterator[str]:
    yield "## Files"
    body = [(row.path.rpartition("/")[2], f"{row.bytes:,}", row.kernels or NONE, row.sha256) for row in rows]
    yield table(("file", "bytes", "measured with", "SHA-256"), body)


def _versions(known: Summary) -> Iterator[str]:
    facts = known.environment
    yield "## Versions"
    if "tledge" not in facts:
        yield _gap("with which versions it was trained; the run did not note them.")
        return
    versions = {"tledge": facts["tledge"], "Python": facts.get("python", NONE), **facts.get("packages", {})}
    backend = f"Trained with Keras' {facts['backend']} backend. " if "backend" in facts else ""
    yield backend + ", ".join(f"{cell(name)} {cell(version)}" for name, version in versions.items()) + "."
    yield "Every package, the weights and the photos it began with: `sbom.cdx.json` (CycloneDX)."


def _upkeep() -> Iterator[str]:
    yield "## Upkeep"
    yield _gap("who keeps the model up to date, when it is measured again, where to report what is wrong.")
