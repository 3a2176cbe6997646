"""`tledge predict`: classify photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tledge._io.encoding import one_line
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
from tledge.errors import TledgeError
from tledge.visualization.text_format import percent

if TYPE_CHECKING:
    from tledge.contract import AbstentionPolicy
    from tledge.inference.predict import Answer, Prediction


@click.command(epilog=example("tledge predict runs/rps/bundle photo.jpg"))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--top", default=3, show_default=True, type=click.IntRange(1), help="Number of top predictions."
)
@click.option(
    "--raw", is_flag=True, help="Also show raw probabilities, which the temperature has not changed."
)
@click.option("--variant", metavar="NAME", help="Artifact of a bundle [tflite-int8 if there is one].")
@input_options
@key_option
@kernels_option
@common_options
def predict(
    model: Path,
    photos: tuple[Path, ...],
    top: int,
    raw: bool,
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

    A single file of another tool says in its metadata or its quantized input how pixels are scaled; where it
    does not, --scaling says so.

    The number beside a label is the confidence: its probability, calibrated on validation photos. A
    prediction below the bundle's confidence threshold is marked with a "?".
    """
    from tledge.cli import console
    from tledge.inference.predict import predict as predict_all
    from tledge.inference.predictor import open_predictor
    from tledge.progress import track

    choices = read_input_choices(model, scaling, image_size, scaling_photos, kernels, quiet)
    predictor = open_predictor(model, variant, kernels, read_public_key(key), choices)
    for remark in predictor.remarks if not quiet else ():
        echo(remark, err=True)
    with console.progress_shown(quiet or len(photos) < 20) as progress:
        answers = list(track(progress, predict_all(predictor, photos, top), "predict", len(photos)))
    if as_json:
        print_json([_answer_as_json(answer, predictor.calibrated, raw) for answer in answers])
    for answer in answers if not as_json else ():
        echo(_answer_line(answer, predictor.confidence, raw))
    unread = [answer for answer in answers if answer.error]
    if unread:
        raise TledgeError(f"{len(unread)} of {len(answers)} photos could not be read.")


def _answer_as_json(answer: Answer, calibrated: bool, raw: bool) -> dict[str, Any]:
    """Return an answer for --json; `error` and `calibrated` are there only where something is amiss."""
    facts: dict[str, Any] = {
        "image": answer.image,
        "predictions": [_prediction_as_json(guess, raw) for guess in answer.predictions],
        "abstained": answer.abstained,
    }
    if not calibrated:
        facts["calibrated"] = False
    return facts | ({"error": answer.error} if answer.error else {})


def _prediction_as_json(guess: Prediction, raw: bool) -> dict[str, Any]:
    """Return a prediction for --json: `probability` is `confidence`, under the name of earlier versions."""
    facts = {"label": guess.label, "confidence": guess.confidence, "probability": guess.probability}
    return facts | ({"raw_probability": guess.raw_probability} if raw else {})


def _answer_line(answer: Answer, policy: AbstentionPolicy | None, raw: bool) -> str:
    """Return the line for one photo: its best predictions, marked where they are unsure, or its error."""
    best = "  ".join(_prediction_text(guess, raw) for guess in answer.predictions)
    if answer.abstained and policy:
        best = f"? {best}  (unsure: below {percent(policy.threshold)})"
    return one_line(f"{answer.image}: {answer.error or best}")


def _prediction_text(guess: Prediction, raw: bool) -> str:
    before = f" (raw {percent(guess.raw_probability)})" if raw else ""
    return f"{guess.label} {percent(guess.confidence)}{before}"
