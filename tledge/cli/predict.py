"""`tledge predict`: classify photos."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tledge.cli.options import (
    common_options,
    echo,
    example,
    input_options,
    kernels_option,
    key_option,
    print_json,
    read_input_choices,
    read_public_key,
)
from tledge.errors import MissingError, TledgeError

if TYPE_CHECKING:
    from tledge.inference.photo_sources import NamedPhoto
    from tledge.inference.photos import Photo
    from tledge.inference.predict import Answer
    from tledge.inference.predictor import Predictor
    from tledge.progress import Progress, Task

QUICK = 2.0
"""Seconds without a progress bar."""


@click.command(epilog=example("tledge predict runs/rps/bundle photo.jpg"))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--top", default=3, show_default=True, type=click.IntRange(1), help="Number of top predictions."
)
@click.option("--raw", is_flag=True, help="Also show raw probabilities, before the temperature.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for spreadsheets, one line a photo.")
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save a copy of each photo with its prediction below it.",
)
@click.option("--variant", metavar="NAME", help="Artifact of a bundle [tflite-int8 if there is one].")
@input_options
@key_option
@kernels_option
@common_options
def predict(
    model: Path,
    photos: tuple[str, ...],
    top: int,
    raw: bool,
    as_csv: bool,
    save: Path | None,
    variant: str | None,
    scaling: str | None,
    image_size: str | None,
    scaling_photos: Path | None,
    key: Path | None,
    kernels: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Classify photos with a bundle, a run or a single .tflite or .onnx file; needs no TensorFlow.

    A PHOTO is a file, a folder with all photos in it, a pattern such as "photos/*.jpg", an http or https
    address, or - for standard input. A photo that cannot be read stops no other; the exit code is 1 then.

    A single file of another tool says in its metadata or its quantized input how pixels are scaled; where it
    does not, --scaling says so.

    The number beside a label is the confidence: its probability, calibrated on validation photos. A
    prediction below the bundle's confidence threshold is marked with a "?".
    """
    from tledge.cli import console
    from tledge.inference import answer_text
    from tledge.inference.photo_sources import find_photos
    from tledge.inference.predictor import open_predictor

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    choices = read_input_choices(model, scaling, image_size, scaling_photos, kernels, quiet)
    with console.shown_if_slow("open the model", quiet):
        predictor = open_predictor(model, variant, kernels, read_public_key(key), choices)
    for remark in predictor.remarks if not quiet else ():
        echo(remark, err=True)
    named, started = find_photos(photos, sys.stdin.buffer), time.monotonic()
    if as_csv:
        echo(answer_text.csv_header(min(top, len(predictor.labels)), raw))
    text_of = _texts(predictor, top, raw, as_csv, as_json)
    answers, missing = _predict_all(predictor, named, top, save, quiet, text_of)
    if as_json:
        print_json([answer_text.as_json(answer, predictor.calibrated, raw) for answer in answers])
    if len(answers) > 1 and not quiet:
        echo(answer_text.summary(answers, predictor.confidence, time.monotonic() - started, save), err=True)
    if missing:
        raise missing
    if unread := sum(bool(answer.error) for answer in answers):
        raise TledgeError(f"{unread} of {len(answers)} photos could not be read.")


def _texts(predictor: Predictor, top: int, raw: bool, as_csv: bool, as_json: bool) -> Callable[[Answer], str]:
    """Return what writes the line of an answer; with --json there are none."""
    from tledge.inference import answer_text

    policy, columns = predictor.confidence, min(top, len(predictor.labels))
    if as_json:
        return lambda _answer: ""
    if as_csv:
        return lambda answer: answer_text.csv_line(answer, policy, columns, raw)
    return lambda answer: answer_text.line(answer, policy, raw)


def _predict_all(
    predictor: Predictor,
    photos: list[NamedPhoto],
    top: int,
    save: Path | None,
    quiet: bool,
    text_of: Callable[[Answer], str],
) -> tuple[list[Answer], MissingError | None]:
    """Predict all photos, print the line of each, and save their copies in a folder `save`.

    Returns the answers, and the first error of a photo that needs a library that is not installed.
    """
    from tledge.inference.photo_sources import copy_paths
    from tledge.inference.predict import Answer, predict_named

    missing: MissingError | None = None
    copies = copy_paths(photos, save) if save else [None] * len(photos)
    answers = []
    with _late_progress(len(photos), quiet) as shown:
        for photo, copy in zip(photos, copies, strict=True):
            try:
                answer, form = predict_named(predictor, photo, top)
            except MissingError as error:  # a HEIC photo, for example, and the others go on
                answer, form = Answer(photo.name, (), str(error)), None
                missing = missing or error
            if copy and form is not None:
                _save_copy(answer, form, predictor, copy)
            answers.append(answer)
            if text := text_of(answer):
                shown.show_line(text)
            shown.advance()
    return answers, missing


def _save_copy(answer: Answer, photo: Photo, predictor: Predictor, path: Path) -> None:
    from tledge.inference import answer_text
    from tledge.inference.photos import read_pixels
    from tledge.visualization import annotated_photo

    pixels = read_pixels(photo, predictor.pixel_range)
    annotated_photo.save(pixels, answer_text.caption(answer), answer.abstained, path)


class _LateProgress:
    """A progress bar that comes once photos have taken `QUICK` seconds, and the lines printed meanwhile."""

    def __init__(self, total: int, quiet: bool, shown: ExitStack) -> None:
        self._total, self._quiet, self._shown = total, quiet, shown
        self._stdout, self._started, self._done = sys.stdout, time.monotonic(), 0
        self._progress: Progress | None = None
        self._task: Task | None = None

    def show_line(self, line: str) -> None:
        """Print a line of the results; above the bar, where both are on one terminal."""
        if self._progress and self._stdout.isatty() and sys.stderr.isatty():
            self._progress.say(line)
        else:
            echo(line)

    def advance(self) -> None:
        """Count a photo."""
        self._done += 1
        is_due = time.monotonic() - self._started > QUICK and self._done < self._total
        if self._task:
            self._task.advance()
        elif is_due and not self._quiet:
            self._start()

    def _start(self) -> None:
        from tledge.cli import console
        from tledge.progress import start_task

        self._progress = self._shown.enter_context(console.progress_shown(False))
        sys.stdout = self._stdout  # rich would print on stderr what is written to stdout meanwhile
        self._task = self._shown.enter_context(start_task(self._progress, "predict", self._total))
        self._task.advance(self._done)


@contextmanager
def _late_progress(total: int, quiet: bool) -> Iterator[_LateProgress]:
    """Give the progress of a block."""
    with ExitStack() as shown:
        yield _LateProgress(total, quiet, shown)
