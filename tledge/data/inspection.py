"""Summarize prepared photos and what is wrong with them, for `tledge data` and for runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files, npy
from tledge.config import Data, Stage
from tledge.data import split_checks, splits
from tledge.data.cache import Prepared
from tledge.data.duplicates import COMPARED, DuplicatePair, duplicates_of
from tledge.data.sampling import by_class_in_turn
from tledge.data.sources.left_out import EXAMPLES, UNREADABLE, LeftOut
from tledge.data.split_checks import LargeGroup
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress
from tledge.run.folder import RunFolder
from tledge.visualization import contact_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[np.int64]]


SAMPLES = 10
"""Small photos of each split that a run keeps for its report: a row of a contact sheet."""

IMBALANCE = 3.0
"""Largest class over smallest above which the report calls the set imbalanced."""


@dataclass(frozen=True)
class Duplicate:
    """Two photos that are one, by id, and the split and label of each: "train/rose".

    `kind` is "same bytes", "same picture" or "turned or mirrored".
    """

    kind: str
    first: str
    second: str
    first_place: str
    second_place: str

    @property
    def crosses_splits(self) -> bool:
        """Tell whether the two are in different splits, so that scores are measured on a known photo."""
        return _split(self.first_place) != _split(self.second_place)

    @property
    def crosses_classes(self) -> bool:
        """Tell whether the two have different labels: one of them is wrong."""
        return _label(self.first_place) != _label(self.second_place)


@dataclass(frozen=True)
class DatasetSummary:
    """Figures of a prepared data set; sizes are (width, height) of the upright photos in pixels."""

    photos: int
    unused: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    formats: dict[str, int]
    modes: dict[str, int]
    orientations: dict[str, int]
    small: tuple[str, ...]
    """Ids of photos with a side shorter than the model's input: they are upscaled."""
    imbalance: float
    """Train photos of the largest class over those of the smallest."""
    lacking: tuple[str, ...]
    """Labels that validation or test have no photo of, as "test: rose"."""
    skipped: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Files and folders that the source passed over and photos that cannot be read, by reason."""
    unused_labels: tuple[str, ...] = ()
    """Labels that the recipe or the source lists, and that no photo has."""
    merged_labels: tuple[str, ...] = ()
    """Spellings that are one label, a sentence each."""
    large_groups: tuple[LargeGroup, ...] = ()
    """Labels most of whose photos stay in one split, because they are one group."""


def summarize(
    prepared: Prepared, rows: Rows, progress: Progress = SILENT, data: Data | None = None
) -> DatasetSummary:
    """Summarize a prepared set and its splits; compares every photo with every other.

    With the recipe's [data] table, also look for groups that hold most photos of a label.
    """
    used = [prepared.rows[row] for part in rows.values() for row in part.tolist()]
    side = prepared.images().shape[1]
    by_area = sorted((row.width * row.height, row.width, row.height) for row in used)
    sizes = [(width, height) for _area, width, height in by_area]
    counts = splits.counts(prepared, rows)
    unused_labels = set(prepared.labels) - {row.label for row in prepared.rows}
    return DatasetSummary(
        photos=len(used),
        unused=len(prepared.rows) - len(used),
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        formats=_count_values(row.format for row in used),
        modes=_count_values(row.mode for row in used),
        orientations=_count_values(str(row.orientation) for row in used),
        small=tuple(row.id for row in used if min(row.width, row.height) < side),
        imbalance=_imbalance(counts["train"].values()),
        lacking=tuple(f"{split}: {label}" for split, label in split_checks.missing(prepared, rows)),
        skipped=prepared.skipped,
        duplicates=_duplicates(prepared, rows, progress),
        left_out=_left_out(prepared),
        unused_labels=tuple(label for label in prepared.labels if label in unused_labels),
        merged_labels=prepared.merged,
        large_groups=split_checks.large_groups(prepared, data) if data else (),
    )


def _left_out(prepared: Prepared) -> dict[str, LeftOut]:
    """Return what the source passed over, and the photos that were skipped because they do not decode."""
    if not prepared.skipped:
        return dict(prepared.left_out)
    before = prepared.left_out.get(UNREADABLE, LeftOut(0, ()))
    examples = (*before.examples, *prepared.skipped)[:EXAMPLES]
    return {**prepared.left_out, UNREADABLE: LeftOut(before.count + len(prepared.skipped), examples)}


def _imbalance(counts: Iterable[int]) -> float:
    """Return the largest count over the smallest, without labels that no photo has."""
    used = [count for count in counts if count]
    return max(used) / min(used)


def _count_values(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _duplicates(prepared: Prepared, rows: Rows, progress: Progress) -> tuple[Duplicate, ...]:
    """Describe the duplicates among the used photos, those across classes or splits first."""
    import numpy as np

    used = np.sort(np.concatenate(list(rows.values())))
    split_of = {row: name for name, part in rows.items() for row in part.tolist()}

    def describe(pair: DuplicatePair) -> Duplicate:
        first, second = (prepared.rows[row] for row in (pair.first, pair.second))
        places = f"{split_of[pair.first]}/{first.label}", f"{split_of[pair.second]}/{second.label}"
        return Duplicate(pair.kind, first.id, second.id, *places)

    pairs = duplicates_of(
        prepared, used, lambda: progress.say(f"Checking for near-duplicates ({len(used)} photos)"), progress
    )
    return tuple(
        sorted(map(describe, pairs), key=lambda pair: -(2 * pair.crosses_classes + pair.crosses_splits))
    )


def _split(place: str) -> str:
    return place.partition("/")[0]


def _label(place: str) -> str:
    return place.partition("/")[2]


def problems(summary: DatasetSummary, stages: Sequence[Stage] = (), data: Data | None = None) -> list[str]:
    """Return what a person should know of the used photos, one line each; empty where all is well.

    With the recipe's stages, nothing is advised that they do already; with its [data], also whether training
    would stop.
    """
    crossing = [pair for pair in summary.duplicates if pair.crosses_splits or pair.crosses_classes]
    lines = [_duplicate_line(pair) for pair in crossing]
    if within := len(summary.duplicates) - len(crossing):
        lines.append(f"{within} duplicate photo{'s' if within > 1 else ''} (same class, same split)")
    lines += [*missing_labels(summary), *map(split_checks.describe, summary.large_groups)]
    if summary.lacking and data:
        lines.append(split_checks.describe_stop(data, summary.large_groups))
    lines += summary.merged_labels
    if summary.photos > COMPARED:
        lines.append(f"more than {COMPARED} photos: only identical files were looked for, not similar images")
    if summary.imbalance > IMBALANCE:
        lines.append(
            f"the largest class has {summary.imbalance:.1f} times the train photos of the smallest; "
            + _imbalance_advice(stages)
        )
    if summary.small:
        lines.append(
            f"{len(summary.small)} of {summary.photos} photos are smaller than the model's input and will be "
            f"upscaled (usually harmless), such as {summary.small[0]}"
        )
    return lines


def _imbalance_advice(stages: Sequence[Stage]) -> str:
    if stages and all(stage.class_weights != "none" for stage in stages):
        return "the class_weights of the stages compensate for that"
    return 'class_weights = "balanced" in a [[stage]] compensates for that'


def missing_labels(summary: DatasetSummary) -> list[str]:
    """Return a line for each label that validation or test have no photo of, and one for unused labels."""
    lines = [f"no photo at all in {place}: the score says nothing about it" for place in summary.lacking]
    if unused := summary.unused_labels:
        names = ", ".join(unused[:3]) + f" and {len(unused) - 3} more" * (len(unused) > 3)
        lines.append(
            f"no photo at all of {names}: kept as outputs, because the labels are listed, but never learned"
        )
    return lines


def _duplicate_line(pair: Duplicate) -> str:
    where = "two classes" if pair.crosses_classes else "two splits"
    if pair.crosses_classes and pair.crosses_splits:
        where = "two classes and two splits"
    return (
        f"{pair.kind} in {where}: {pair.first} ({pair.first_place}) and {pair.second} ({pair.second_place})"
    )


def as_json(
    prepared: Prepared,
    rows: Rows,
    summary: DatasetSummary,
    stages: Sequence[Stage] = (),
    data: Data | None = None,
) -> dict[str, Any]:
    """Return all that is known of the photos as JSON: counts by split and label, figures, problems."""
    counts = splits.counts(prepared, rows)
    labels = {"labels": prepared.labels, "label_order": prepared.origin}
    contents = {**labels, "counts": counts, "sha256": _sha256(prepared)}
    return {**contents, **asdict(summary), "problems": problems(summary, stages, data)}


def _sha256(prepared: Prepared) -> str:
    """Hash the sorted lines `SHA-256 label` of all photos: the same wherever the photos lie."""
    lines = sorted(f"{row.sha256} {row.label}\n" for row in prepared.rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_evidence(
    folder: RunFolder,
    prepared: Prepared,
    rows: Rows,
    seed: int,
    progress: Progress = SILENT,
    stages: Sequence[Stage] = (),
) -> DatasetSummary:
    """Write the summary of the photos, and a few small ones of each split, into a run's evidence."""
    summary = summarize(prepared, rows, progress)
    files.write_json(folder.data, as_json(prepared, rows, summary, stages))
    labels = prepared.label_indices
    chosen = {name: part[by_class_in_turn(labels[part], SAMPLES, seed)] for name, part in rows.items()}
    samples = [(name, row) for name, part in chosen.items() for row in part.tolist()]
    _write_samples(folder, prepared, samples)
    return summary


def _write_samples(folder: RunFolder, prepared: Prepared, samples: Sequence[tuple[str, int]]) -> None:
    """Write `photos.npz`, images uint8[N, S, S, 3] with split, label and id, and a contact sheet of them."""
    import numpy as np

    pixels = prepared.images()
    side = min(contact_sheet.SIDE, pixels.shape[1])
    small = np.stack([image.preprocess(pixels[row], (side, side)) for _split, row in samples])
    rows = [prepared.rows[row] for _split, row in samples]
    columns = {
        "splits": [name for name, _row in samples],
        "labels": [row.label for row in rows],
        "ids": [row.id for row in rows],
    }
    with atomic.replacing(folder.samples) as path:
        npy.write_npz(path, {"images": small, **{name: np.array(texts) for name, texts in columns.items()}})
    with atomic.replacing(folder.samples.with_suffix(".png")) as path:
        contact_sheet.sheet(small, columns["splits"], path, "photos of each split", (columns["labels"],))


def write_contact_sheets(prepared: Prepared, rows: Rows, folder: Path, seed: int) -> list[Path]:
    """Write one contact sheet PNG per split, classes in turn; return their paths."""
    paths = []
    for name, part in rows.items():
        chosen = part[by_class_in_turn(prepared.label_indices[part], contact_sheet.MAX_IMAGES, seed)]
        captions = [prepared.rows[row].label for row in chosen.tolist()]
        with atomic.replacing(folder / f"{name}.png") as path:
            title = f"{name}: {len(chosen)} of {len(part)} photos"
            contact_sheet.sheet(prepared.images()[chosen], captions, path, title)
        paths.append(folder / f"{name}.png")
    return paths
