"""Use tledge from Python: the names that `import tledge` offers.

    import tledge

    run = tledge.train("quickstart", settings={"stage.0.epochs": 4})
    exported = tledge.export(run, variants=["tflite-int8"])
    answer = tledge.load(exported).predict("photo.jpg")
    print(answer.best.label, answer.best.probability)

Each function does what the command of its name does, and returns a frozen value with what that prints.
Errors are `TledgeError`s; `tledge.errors` has a subclass for each kind. A `Run` or an `Exported` can be
passed wherever a path is expected. `watch` is a `tledge.progress.Progress`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tledge.bundle import signing
from tledge.bundle.build import Bundled
from tledge.bundle.build import bundle as bundle_run
from tledge.bundle.reader import is_bundle
from tledge.bundle.signing import PublicKey
from tledge.conversion.export import export as export_run
from tledge.errors import RecipeError, TledgeError
from tledge.inference.predict import Answer, Prediction, predict, predict_image
from tledge.inference.predictor import Predictor, open_predictor
from tledge.progress import SILENT, Progress
from tledge.recipe import lookup
from tledge.recipe.checks import require_variants
from tledge.run.records import ParityReport, TrainedRun
from tledge.training import pipeline
from tledge.verification import compare_models
from tledge.verification.compare_models import ComparedReport
from tledge.verification.verify import failure, verify_bundle, verify_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Named = str | os.PathLike[str]
    """A path, a `Run` or an `Exported`."""
    Photo = Named | bytes | NDArray[np.uint8]
    """A file, an encoded photo, or pixels uint8[H, W, 3] in RGB."""

__all__ = [
    "Answer",
    "Classifier",
    "ComparedReport",
    "Exported",
    "ParityReport",
    "Prediction",
    "Run",
    "TledgeError",
    "compare",
    "export",
    "load",
    "train",
    "verify",
]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and the values of its `run.json`, such as `facts.test.accuracy`."""

    path: Path
    facts: TrainedRun

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Exported:
    """The result of an export: the report of every artifact, and the bundle. As a path, it is the bundle."""

    report: ParityReport
    bundle: Bundled

    def __fspath__(self) -> str:
        return str(self.bundle.folder)


class Classifier:
    """An opened model that predicts photos; see `load`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __repr__(self) -> str:
        return f"Classifier({self.variant}, labels={list(self.labels)}, size={self.size})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes, in the order of the model's output."""
        return self._predictor.labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels to which photos are resized."""
        return self._predictor.size

    @property
    def variant(self) -> str:
        """Variant of the opened artifact, such as `tflite-int8`; the file's name for a single file."""
        return self._predictor.variant

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for the user, such as: trained on synthetic photos, bundled without passing verification."""
        return self._predictor.remarks

    def predict(self, photo: Photo, top: int = 3) -> Answer:
        """Predict one photo.

        Args:
            photo: A path, the bytes of an encoded photo, or pixels uint8[H, W, 3] in RGB.
            top: How many labels to return, the most probable first.

        Returns:
            The predictions, and whether the model is unsure (`abstained`).

        Raises:
            DataError: The photo cannot be decoded.
            FileNotFoundError: There is no file at this path.
        """
        return predict_image(self._predictor, _photo(photo), top)

    def predict_all(self, photos: Iterable[Photo], top: int = 3) -> Iterator[Answer]:
        """Predict many photos, in order.

        Args:
            photos: As in `predict`.
            top: How many labels to return for each.

        Yields:
            An answer for each photo; one that cannot be read has an `error` and no predictions.
        """
        return predict(self._predictor, map(_photo, photos), top)


def load(
    model: Named, variant: str | None = None, *, kernels: str = "xnnpack", key: Named | None = None
) -> Classifier:
    """Open a bundle (folder or zip), a run, or a single .tflite or .onnx file; needs no TensorFlow.

    Example:
        answer = tledge.load("runs/rps/bundle").predict("photo.jpg")

    Args:
        model: Path of the bundle, the run or the file.
        variant: Which artifact of a bundle to open; int8 by default, if there is one.
        kernels: LiteRT kernel family: xnnpack, builtin or reference.
        key: File of a public key; a bundle that its owner did not sign is refused.

    Raises:
        RecipeError: There is no such model or variant.
        ArtifactError: A file is damaged, or the bundle is not signed with this key.
        MissingError: The runtime of this model is not installed.
    """
    return Classifier(open_predictor(Path(model), variant, kernels, _public(key)))


def train(
    recipe: Named,
    *,
    settings: Mapping[str, object] | Sequence[str] = (),
    out: Named | None = None,
    resume: bool = False,
    force: bool = False,
    cache: Named | None = None,
    watch: Progress = SILENT,
) -> Run:
    """Train the model of a recipe into a run folder.

    Example:
        run = tledge.train("quickstart", settings={"stage.0.epochs": 4}, out="runs/try")

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        settings: Keys to override: {"stage.0.epochs": 2}, or lines as --set takes them.
        out: The run folder; runs/NAME by default.
        resume: Resume an interrupted run.
        force: Replace the run in the folder.
        cache: A zip that `tledge data --pack` wrote, to train without the photos.
        watch: Receives progress.

    Raises:
        RecipeError: The recipe is not valid.
        RunError: The folder holds another run, or another command writes into it.
        DataError: The photos are unusable.
        MissingError: Photos, weights or Keras are missing on this machine.
    """
    lines = _settings(settings)
    checked, text = lookup.read_recipe(os.fspath(recipe), lines)
    folder = Path("runs", checked.meta.name) if out is None else Path(out)
    trained = pipeline.train(
        checked, text, folder,
        settings=lines, resume=resume, force=force, cache=_path(cache), progress=watch,
    )  # fmt: skip
    assert trained is not None, "only one of several processes gives none"
    return Run(folder, trained)


def export(
    run: Named | None = None,
    variants: Iterable[str] | None = None,
    *,
    unverified: bool = False,
    sign: Named | None = None,
    watch: Progress = SILENT,
) -> Exported:
    """Convert a run, verify every artifact in it, and bundle the artifacts that passed.

    Example:
        exported = tledge.export("runs/try", variants=["tflite-int8", "onnx-fp32"])

    Args:
        run: A run folder; the newest in runs/ by default.
        variants: Which variants to make; those of the recipe by default.
        unverified: Also bundle artifacts that failed verification, marked as such.
        sign: File of a private key to sign the bundle with.
        watch: Receives progress.

    Raises:
        RecipeError: A variant does not exist, or the key is not valid.
        ConversionError: A converter failed.
        ParityFailed: An artifact did not pass; `parity.json` in the run has all figures.
        ArtifactError: An artifact itself is faulty; `parity.json` in the run has all figures.
    """
    folder, recipe = lookup.open_finished_run(_path(run))
    wanted = recipe.export.variants if variants is None else tuple(variants)
    require_variants(wanted, "variants")
    signer = None if sign is None else signing.signer(Path(sign))
    for remark in signer.remarks if signer else ():
        watch.say(f"warning: {remark}")
    with folder.alone():
        export_run(folder, recipe, wanted, watch)
        report = verify_run(folder, recipe.parity, progress=watch)
        if not report.passed and not unverified:
            raise failure(report)
        return Exported(report, bundle_run(folder, unverified=unverified, sign=signer, progress=watch))


def verify(
    model: Named, *, kernels: str = "xnnpack", key: Named | None = None, watch: Progress = SILENT
) -> ParityReport:
    """Check a run's artifacts against Keras' golden set, or check a bundle on this machine.

    Example:
        report = tledge.verify("runs/try/bundle")

    Args:
        model: A run folder or a bundle.
        kernels: LiteRT kernel family: xnnpack, builtin or reference.
        key: File of a public key; a bundle that its owner did not sign is refused.
        watch: Receives progress.

    Returns:
        The verdict of every artifact; an artifact that did not pass raises no error.

    Raises:
        RunError: There is nothing to verify.
        ArtifactError: The bundle is damaged, or not signed with this key.
    """
    path = Path(model)
    if is_bundle(path):
        return verify_bundle(path, key=_public(key), kernels=kernels, progress=watch)
    if key is not None:
        raise RecipeError(
            f"{path}: a key checks the signature of a bundle, and this is no bundle. Name the signed bundle "
            f"of a run: {path / 'bundle'}"
        )
    folder, recipe = lookup.open_finished_run(path)
    return verify_run(folder, recipe.parity, kernels=kernels, progress=watch)


def compare(
    a: Named,
    b: Named,
    *,
    variants: Sequence[str] = (),
    kernels: str = "xnnpack",
    watch: Progress = SILENT,
) -> ComparedReport:
    """Check whether model B can replace model A.

    Example:
        report = tledge.compare("pets-1.zip", "runs/pets")

    Args:
        a: The old model: a bundle or a run.
        b: The new model: a bundle or a run.
        variants: Which artifacts to compare; all that both have by default.
        kernels: LiteRT kernel family: xnnpack, builtin or reference.
        watch: Receives progress.

    Returns:
        The comparison of every artifact; `verdict` sums it up.

    Raises:
        RecipeError: The two models have no artifact in common.
    """
    limits, _whose = lookup.comparison_gates(Path(a), Path(b))
    return compare_models.compare(
        Path(a), Path(b), limits, variants=variants, kernels=kernels, progress=watch
    )


def _public(key: Named | None) -> PublicKey | None:
    return None if key is None else signing.public_key(Path(key))


def _path(named: Named | None) -> Path | None:
    return None if named is None else Path(named)


def _photo(photo: Photo) -> Path | bytes | NDArray[np.uint8]:
    return Path(photo) if isinstance(photo, (str, os.PathLike)) else photo


def _settings(settings: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """Write settings as --set takes them; numbers, booleans and lists are the same in JSON and TOML."""
    if isinstance(settings, str):
        return (settings,)
    if not isinstance(settings, Mapping):
        return tuple(settings)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return tuple(f"{key}={text}" for key, text in texts.items())
