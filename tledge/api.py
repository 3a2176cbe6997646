"""Use tledge from Python: the names that `import tledge` offers.

    import tledge

    run = tledge.train("quickstart", settings={"stage.0.epochs": 4})
    exported = tledge.export(run, variants=["tflite-int8"])
    answer = tledge.load(exported).predict("photo.jpg")
    print(answer.best.label, answer.best.confidence)

Each function does what the command of its name does, and returns a frozen value with what that prints.
Every error is a `TledgeError`; `tledge.errors` has a subclass for each kind, and a wrong argument is a
RecipeError (a photo that is none, a DataError). A `Run` or an `Exported` can be passed wherever a path is
expected. `watch` is a `tledge.progress.Progress`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, overload

from tledge._io.resource_errors import system_errors_explained
from tledge.adoption import adopt as adoption
from tledge.bundle import signing
from tledge.bundle.build import Bundled
from tledge.bundle.build import bundle as bundle_run
from tledge.bundle.reader import is_bundle
from tledge.bundle.signing import PublicKey
from tledge.conversion.export import export as export_run
from tledge.errors import RecipeError, TledgeError
from tledge.inference.classifier import Classifier
from tledge.inference.predict import Answer, Prediction
from tledge.inference.predictor import InputChoices, open_predictor
from tledge.preprocessing.scaling import parse_scaling
from tledge.progress import SILENT, Progress
from tledge.recipe import arguments, lookup, resumed
from tledge.recipe.checks import require_variants
from tledge.recipe.loader import with_photos
from tledge.run.records import ParityReport, TrainedRun
from tledge.runtime.sessions import KERNELS
from tledge.training import pipeline
from tledge.verification import compare_models
from tledge.verification.compare_models import ComparedReport
from tledge.verification.field_photos import FieldReport, verify_photos
from tledge.verification.verify import failure, verify_bundle, verify_run

if TYPE_CHECKING:
    Named = str | os.PathLike[str]
    """A path, a `Run` or an `Exported`."""

__all__ = [
    "Answer",
    "Classifier",
    "ComparedReport",
    "Exported",
    "ParityReport",
    "Prediction",
    "Run",
    "TledgeError",
    "adopt",
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


@system_errors_explained
def load(
    model: Named,
    variant: str | None = None,
    *,
    kernels: str = "xnnpack",
    key: Named | None = None,
    scaling: str | None = None,
    image_size: tuple[SupportsIndex, SupportsIndex] | None = None,
) -> Classifier:
    """Open a bundle (folder or zip), a run, or a single .tflite or .onnx file; needs no TensorFlow.

    Example:
        answer = tledge.load("runs/rps/bundle").predict("photo.jpg")

    Args:
        model: Path of the bundle, the run or the file.
        variant: Which artifact of a bundle to open; int8 by default, if there is one.
        kernels: LiteRT kernel family: xnnpack, builtin or reference.
        key: File of a public key; a bundle that its owner did not sign is refused.
        scaling: How a single file takes pixels, as `--scaling` of `tledge predict` takes it, such as "-1..1";
            what the file itself says by default.
        image_size: Height and width for a single file that takes images of any size.

    Raises:
        RecipeError: There is no such model or variant, or a single file does not say how it takes pixels.
        ArtifactError: A file is damaged, or the bundle is not signed with this key.
        MissingError: The runtime of this model is not installed.
    """
    path, chosen = arguments.path(model, "model"), arguments.optional_name(variant, "variant")
    family = arguments.one_of(kernels, "kernels", KERNELS)
    named = arguments.optional_name(scaling, "scaling")
    choices = InputChoices(parse_scaling(named, "scaling:") if named else None, _size(image_size))
    return Classifier(open_predictor(path, chosen, family, _public(key), choices))


def _size(sides: tuple[SupportsIndex, SupportsIndex] | None) -> tuple[int, int] | None:
    if sides is None:
        return None
    if not isinstance(sides, (tuple, list)) or len(sides) != 2:
        raise RecipeError("image_size: expected height and width, such as (224, 224).")
    height, width = (arguments.count(side, "image_size") for side in sides)
    return height, width


@system_errors_explained
def train(
    recipe: Named,
    *,
    settings: Mapping[str, object] | Iterable[str] = (),
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
        recipe: A TOML file, or the name of a shipped recipe; with `resume` also the folder of a run.
        settings: Keys to override: {"stage.0.epochs": 2}, or lines as --set takes them. Values are text,
            numbers (numpy's too), booleans, paths, or lists of these.
        out: The run folder; runs/NAME by default.
        resume: Resume an interrupted run with the values that it was begun with.
        force: Replace the run in the folder.
        cache: A zip that `tledge data --pack` wrote, to train without the photos.
        watch: Receives progress.

    Raises:
        RecipeError: The recipe or an argument is not valid.
        RunError: The folder holds another run, or another command writes into it.
        DataError: The photos are unusable.
        MissingError: Photos, weights or Keras are missing on this machine.
    """
    lines, asked_folder = arguments.settings(settings), arguments.optional_path(out, "out")
    resumes, replaces = arguments.flag(resume, "resume"), arguments.flag(force, "force")
    packed, progress = arguments.optional_path(cache, "cache"), arguments.progress(watch, "watch")
    name = os.fspath(arguments.path(recipe, "recipe"))
    asked = resumed.find(name, lines, asked_folder, resume=resumes, force=replaces)
    trained = pipeline.train(
        asked.recipe, asked.text, asked.folder,
        settings=asked.settings, resume=resumes, force=replaces, cache=packed, progress=progress,
    )  # fmt: skip
    assert trained is not None, "only one of several processes gives none"
    return Run(asked.folder, trained)


@system_errors_explained
def adopt(
    model: Named,
    photos: Named,
    *,
    labels: Named | None = None,
    scaling: str | None = None,
    image_size: SupportsIndex | None = None,
    settings: Mapping[str, object] | Iterable[str] = (),
    out: Named | None = None,
    force: bool = False,
    watch: Progress = SILENT,
) -> Run:
    """Make a run of a model that was trained elsewhere; then `export` and the others work on it.

    Example:
        run = tledge.adopt("keras_model.h5", "photos", labels="labels.txt")

    Args:
        model: A `.keras` file, a Keras 2 `.h5` file, a SavedModel folder, or a zip of Teachable Machine.
        photos: A folder of photos, in a folder for each label.
        labels: A text file with the labels in the order of the model's outputs; by default those in the zip,
            or the names of the folders.
        scaling: How pixels are scaled for the model, such as "-1..1"; found out by default.
        image_size: Side of the photos in pixels, where the model takes any.
        settings: Keys of the run's recipe, as in `train`.
        out: The run folder; runs/NAME of the model by default.
        force: Replace the run in the folder.
        watch: Receives progress.

    Raises:
        RecipeError: The scaling or the labels cannot be found out, or do not fit.
        ArtifactError: The model is damaged, holds code, or is no classifier of photos.
        RunError: The folder holds a run, or another command writes into it.
        MissingError: There is no such model, or no such photos.
        DataError: The photos are unusable.
    """
    named = arguments.optional_name(scaling, "scaling")
    side = 0 if image_size is None else arguments.count(image_size, "image_size")
    folder, adopted = adoption.adopt(
        arguments.path(model, "model"), arguments.path(photos, "photos"),
        arguments.optional_path(out, "out"),
        labels=arguments.optional_path(labels, "labels"),
        scaling=parse_scaling(named, "scaling:") if named else None,
        image_size=side, settings=arguments.settings(settings), force=arguments.flag(force, "force"),
        progress=arguments.progress(watch, "watch"),
    )  # fmt: skip
    return Run(folder.path, adopted)


@system_errors_explained
def export(
    run: Named | None = None,
    variants: Iterable[str] | None = None,
    *,
    unverified: bool = False,
    force: bool = False,
    photos: Named | None = None,
    sign: Named | None = None,
    watch: Progress = SILENT,
) -> Exported:
    """Convert a run, verify every artifact in it, and bundle the artifacts that passed.

    An artifact is not converted again where nothing changed since it was made.

    Example:
        exported = tledge.export("runs/try", variants=["tflite-int8", "onnx-fp32"])

    Args:
        run: A run folder; the newest in runs/ by default.
        variants: Which variants to make; those of the recipe by default.
        unverified: Also bundle artifacts that failed verification, marked as such.
        force: Convert anew also what nothing has changed for.
        photos: Folder of photos without labels to verify on too, where test images are too few.
        sign: File of a private key to sign the bundle with.
        watch: Receives progress.

    Raises:
        RecipeError: A variant does not exist, or the key is not valid.
        ConversionError: A converter failed.
        ParityFailed: An artifact did not pass; `parity.json` in the run has all figures, and the run's bundle
            holds the others.
        InconclusiveError: Images are too few to tell whether an artifact passes, and it is not bundled as
            provisional; likewise.
        ArtifactError: An artifact itself is faulty; likewise.
    """
    named = None if variants is None else arguments.some_names(variants, "variants")
    require_variants(named or (), "variants")
    with_failed, anew = arguments.flag(unverified, "unverified"), arguments.flag(force, "force")
    key, progress = arguments.optional_path(sign, "sign"), arguments.progress(watch, "watch")
    folder, recipe = lookup.open_finished_run(arguments.optional_path(run, "run"))
    signer = None if key is None else signing.signer(key)
    for remark in signer.remarks if signer else ():
        progress.say(f"warning: {remark}")
    if more := arguments.optional_path(photos, "photos"):
        recipe = with_photos(recipe, more)
    with folder.alone():
        export_run(folder, recipe, named or recipe.export.variants, progress, force=anew)
        report = verify_run(folder, recipe.parity, progress=progress)
        if with_failed or report.any_bundled:
            bundled = bundle_run(folder, unverified=with_failed, sign=signer, progress=progress)
        if not (report.passed or with_failed or report.all_bundled):
            raise failure(report)
        return Exported(report, bundled)


@overload
def verify(
    model: Named, *, kernels: str = ..., key: Named | None = ..., watch: Progress = ..., photos: None = ...
) -> ParityReport: ...


@overload
def verify(
    model: Named, *, kernels: str = ..., key: Named | None = ..., watch: Progress = ..., photos: Named
) -> FieldReport: ...


@system_errors_explained
def verify(
    model: Named,
    *,
    kernels: str = "xnnpack",
    key: Named | None = None,
    watch: Progress = SILENT,
    photos: Named | None = None,
) -> ParityReport | FieldReport:
    """Check a run's artifacts against Keras' golden set, or check a bundle on this machine.

    Example:
        report = tledge.verify("runs/try/bundle")
        field = tledge.verify("runs/try", photos="from-the-field")

    Args:
        model: A run folder or a bundle.
        kernels: LiteRT kernel family: xnnpack, builtin or reference.
        key: File of a public key; a bundle that its owner did not sign is refused.
        watch: Receives progress.
        photos: A folder of photos from the field to predict instead, with a folder for each label or without
            labels. Photos that the model was trained on are left out.

    Returns:
        The verdict of every artifact; an artifact that did not pass raises no error. With `photos`, the
        figures of every artifact on these, beside those of the test images.

    Raises:
        RunError: There is nothing to verify.
        DataError: There is no photo to predict.
        ArtifactError: The bundle is damaged, or not signed with this key.
    """
    path, family = arguments.path(model, "model"), arguments.one_of(kernels, "kernels", KERNELS)
    progress, public = arguments.progress(watch, "watch"), _public(key)
    if photos is not None:
        root = arguments.path(photos, "photos")
        return verify_photos(path, root, kernels=family, key=public, progress=progress)
    if is_bundle(path):
        return verify_bundle(path, key=public, kernels=family, progress=progress)
    if key is not None:
        raise RecipeError(
            f"{path}: a key checks the signature of a bundle, and this is no bundle. Name the signed bundle "
            f"of a run: {path / 'bundle'}"
        )
    folder, recipe = lookup.open_finished_run(path)
    return verify_run(folder, recipe.parity, kernels=family, progress=progress)


@system_errors_explained
def compare(
    a: Named,
    b: Named,
    *,
    variants: Iterable[str] = (),
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
    old, new = arguments.path(a, "a"), arguments.path(b, "b")
    named, family = arguments.names(variants, "variants"), arguments.one_of(kernels, "kernels", KERNELS)
    progress = arguments.progress(watch, "watch")
    limits, _whose = lookup.comparison_gates(old, new)
    return compare_models.compare(old, new, limits, variants=named, kernels=family, progress=progress)


def _public(key: Named | None) -> PublicKey | None:
    path = arguments.optional_path(key, "key")
    return None if path is None else signing.public_key(path)
