"""What is in the prepared photos, and what is wrong with them: for `tledge data`, and for runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._io import atomic, files, npy
from tledge.data import duplicates as data_duplicates
from tledge.data import splits
from tledge.data.cache import Prepared
from tledge.data.cache_index import Row
from tledge.data.sampling import by_class_in_turn
from tledge.preprocessing import image
from tledge.progress import SILENT, Progress
from tledge.run.folder import RunFolder
from tledge.visualization import contact_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[np.int64]]


SAMPLES = 10
"""Photos of each split that a run keeps to be looked at, small: a row of a contact sheet."""

IMBALANCE = 3.0
"""The largest class over the smallest from which on the report calls the set uneven."""


@dataclass(frozen=True)
class Duplicate:
    """Two photos that show the same, by id, and where each stands: "train/rose".

    `kind` is "same bytes", "same picture" or "turned or mirrored".
    """

    kind: str
    first: str
    second: str
    first_place: str
    second_place: str

    @property
    def crosses_splits(self) -> bool:
        """True where the two are in different splits, so that what is measured was seen before."""
        return _split(self.first_place) != _split(self.second_place)

    @property
    def crosses_classes(self) -> bool:
        """True where the two have different labels: one of them is wrong."""
        return _label(self.first_place) != _label(self.second_place)


@dataclass(frozen=True)
class DatasetSummary:
    """Figures of a prepared set; sizes are (width, height) in upright pixels of the photos."""

    photos: int
    unused: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    formats: dict[str, int]
    modes: dict[str, int]
    orientations: dict[str, int]
    small: tuple[str, ...]
    """Ids of photos with a side shorter than the model's input: they are enlarged."""
    imbalance: float
    """Train photos of the largest class over those of the smallest."""
    lacking: tuple[str, ...]
    """Labels that validation or test have no photo of, as "test: rose"."""
    skipped: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]


def summarize(prepared: Prepared, rows: Rows, progress: Progress = SILENT) -> DatasetSummary:
    """Look at a prepared set and its splits; compares every photo with every other."""
    used = [prepared.rows[row] for part in rows.values() for row in part.tolist()]
    side = prepared.images().shape[1]
    by_area = sorted((row.width * row.height, row.width, row.height) for row in used)
    sizes = [(width, height) for _area, width, height in by_area]
    counts = splits.counts(prepared, rows)
    return DatasetSummary(
        photos=len(used),
        unused=len(prepared.rows) - len(used),
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        formats=_counted(row.format for row in used),
        modes=_counted(row.mode for row in used),
        orientations=_counted(str(row.orientation) for row in used),
        small=tuple(row.id for row in used if min(row.width, row.height) < side),
        imbalance=max(counts["train"].values()) / min(counts["train"].values()),
        lacking=tuple(
            f"{name}: {label}" for name, part in counts.items() for label, count in part.items() if not count
        ),
        skipped=prepared.skipped,
        duplicates=_duplicates(prepared, rows, progress),
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _duplicates(prepared: Prepared, rows: Rows, progress: Progress) -> tuple[Duplicate, ...]:
    """Pairs of equal photos, those across splits or classes first."""
    import numpy as np

    used = np.sort(np.concatenate(list(rows.values())))
    progress.say(f"comparing {len(used)} photos with each other")
    split_of = {row: name for name, part in rows.items() for row in part.tolist()}
    found = [
        Duplicate(
            twin.kind,
            *(prepared.rows[row].id for row in (twin.first, twin.second)),
            *(_place(prepared.rows[row], split_of[row]) for row in (twin.first, twin.second)),
        )
        for twin in data_duplicates.duplicates(prepared.images(), [row.sha256 for row in prepared.rows], used)
    ]
    return tuple(sorted(found, key=lambda one: -(2 * one.crosses_classes + one.crosses_splits)))


def _place(row: Row, split: str) -> str:
    return f"{split}/{row.label}"


def _split(place: str) -> str:
    return place.partition("/")[0]


def _label(place: str) -> str:
    return place.partition("/")[2]


def problems(found: DatasetSummary) -> list[str]:
    """What a person should know of the photos used, one line each; empty where all is well."""
    lines = [_said(one) for one in found.duplicates if one.crosses_splits or one.crosses_classes]
    within = sum(not one.crosses_splits and not one.crosses_classes for one in found.duplicates)
    if within:
        lines.append(f"{within} duplicates within one class of one split")
    lines += missing_labels(found)
    if found.photos > data_duplicates.COMPARED:
        lines.append(
            f"more than {data_duplicates.COMPARED} photos: only equal files were looked for, "
            "not equal pictures"
        )
    if found.imbalance > IMBALANCE:
        lines.append(
            f"the largest class has {found.imbalance:.1f} times the train photos of the smallest; "
            'class_weights = "balanced" in a [[stage]] evens that out'
        )
    if found.small:
        lines.append(
            f"{len(found.small)} photos are smaller than the model's input, such as {found.small[0]}"
        )
    return lines


def missing_labels(found: DatasetSummary) -> list[str]:
    """A line for each label that validation or test have no photo of."""
    return [f"no photo at all in {place}: the score says nothing about it" for place in found.lacking]


def _said(one: Duplicate) -> str:
    where = "two classes" if one.crosses_classes else "two splits"
    if one.crosses_classes and one.crosses_splits:
        where = "two classes and two splits"
    return f"{one.kind} in {where}: {one.first} ({one.first_place}) and {one.second} ({one.second_place})"


def as_json(prepared: Prepared, rows: Rows, found: DatasetSummary) -> dict[str, Any]:
    """All that is known of the photos, for a JSON file: counts by split and label, figures, problems."""
    counts = splits.counts(prepared, rows)
    known = {"labels": prepared.labels, "counts": counts, "sha256": _sha256(prepared)}
    return {**known, **asdict(found), "problems": problems(found)}


def _sha256(prepared: Prepared) -> str:
    """SHA-256 of the sorted lines `SHA-256 label` of all photos: the same wherever they lie."""
    lines = sorted(f"{row.sha256} {row.label}\n" for row in prepared.rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_evidence(
    folder: RunFolder, prepared: Prepared, rows: Rows, seed: int, progress: Progress = SILENT
) -> DatasetSummary:
    """Write into a run's evidence what its report says of the photos, and a few small ones of each split."""
    found = summarize(prepared, rows, progress)
    files.write_json(folder.data, as_json(prepared, rows, found))
    labels = prepared.label_indices
    chosen = {name: part[by_class_in_turn(labels[part], SAMPLES, seed)] for name, part in rows.items()}
    shown = [(name, row) for name, part in chosen.items() for row in part.tolist()]
    _keep_samples(folder, prepared, shown)
    return found


def _keep_samples(folder: RunFolder, prepared: Prepared, shown: Sequence[tuple[str, int]]) -> None:
    """Write `photos.npz`, images uint8[N, S, S, 3] with split, label and id, and a sheet of them."""
    import numpy as np

    pixels = prepared.images()
    side = min(contact_sheet.SIDE, pixels.shape[1])
    small = np.stack([image.preprocess(pixels[row], (side, side)) for _split, row in shown])
    kept = [prepared.rows[row] for _split, row in shown]
    columns = {
        "splits": [name for name, _row in shown],
        "labels": [one.label for one in kept],
        "ids": [one.id for one in kept],
    }
    with atomic.replacing(folder.samples) as path:
        npy.write_npz(path, {"images": small, **{name: np.array(one) for name, one in columns.items()}})
    with atomic.replacing(folder.samples.with_suffix(".png")) as path:
        contact_sheet.sheet(small, columns["splits"], path, "photos of each split", (columns["labels"],))


def write_contact_sheets(prepared: Prepared, rows: Rows, folder: Path, seed: int) -> list[Path]:
    """Write one contact sheet PNG per split, classes in turn; gives their paths."""
    made = []
    for name, part in rows.items():
        chosen = part[by_class_in_turn(prepared.label_indices[part], contact_sheet.MOST, seed)]
        captions = [prepared.rows[row].label for row in chosen.tolist()]
        with atomic.replacing(folder / f"{name}.png") as path:
            title = f"{name}: {len(chosen)} of {len(part)} photos"
            contact_sheet.sheet(prepared.images()[chosen], captions, path, title)
        made.append(folder / f"{name}.png")
    return made
