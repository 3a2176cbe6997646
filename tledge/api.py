"""tledge from Python: the names that `import tledge` offers.

    import tledge

    run = tledge.train("quickstart", settings={"stage.0.epochs": 4})
    exported = tledge.export(run, variants=["tflite-int8"])
    answer = tledge.load(exported).predict("photo.jpg")
    print(answer.best.label, answer.best.probability)

Each does what the command of its name does and gives what that prints, as a frozen value. Failures
are `TledgeError`s; their subclasses, in `tledge.errors`, say of which kind. Wherever a path is
taken, what `train` and `export` gave serves as well. `watch` is a `tledge.progress.Progress`.
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
from tledge.conversion import export as conversion_export
from tledge.errors import RecipeError, TledgeError
from tledge.inference import predict as predicting
from tledge.inference.predict import Answer, Prediction
from tledge.inference.predictor import Predictor, open_predictor
from tledge.progress import SILENT, Progress
from tledge.recipe import lookup
from tledge.recipe.checks import require_variants
from tledge.run.records import ParityReport, TrainedRun
from tledge.training import pipeline
from tledge.verification import compare_models
from tledge.verification import verify as verification_verify
from tledge.verification.compare_models import ComparedReport

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
    """A finished run: its folder, and what its `run.json` says, such as `facts.test.accuracy`."""

    path: Path
    facts: TrainedRun

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Exported:
    """What an export came to: every artifact beside Keras, and the bundle; as a path, the bundle."""

    report: ParityReport
    bundle: Bundled

    def __fspath__(self) -> str:
        return str(self.bundle.folder)


class Classifier:
    """An opened model that answers photos; see `load`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __repr__(self) -> str:
        return f"Classifier({self.variant}, labels={list(self.labels)}, size={self.size})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's output."""
        return self._predictor.labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that photos are prepared to."""
        return self._predictor.size

    @property
    def variant(self) -> str:
        """The artifact that answers, such as `tflite-int8`; of a loose file its name."""
        return self._predictor.variant

    @property
    def remarks(self) -> tuple[str, ...]:
        """What its user should know: trained on synthetic photos, bundled without passing."""
        return self._predictor.remarks

    def predict(self, photo: Photo, top: int = 3) -> Answer:
        """The `top` most probable labels of one photo, and whether the model is unsure (`abstained`).

        Raises DataError for a photo that cannot be read, FileNotFoundError for a path where none is.
        """
        return predicting.predict_image(self._predictor, _photo(photo), top)

    def predict_all(self, photos: Iterable[Photo], top: int = 3) -> Iterator[Answer]:
        """Answers for many photos, in order; one that cannot be read has an `error` and no predictions."""
        return predicting.predict(self._predictor, map(_photo, photos), top)


def load(
    model: Named, variant: str | None = None, *, kernels: str = "xnnpack", key: Named | None = None
) -> Classifier:
    """Open a bundle (folder or zip), a run, or a loose .tflite or .onnx file; needs no TensorFlow.

    `variant` names the artifact of a bundle, int8 where there is one; `kernels` are LiteRT's: xnnpack,
    builtin or reference; `key` is a public key's file, whose owner has to have signed the bundle. Raises
    RecipeError for what is not there, ArtifactError for what is damaged or not signed so, MissingError
    without the runtime that it takes.
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
    """Train the model of a recipe (a file or a shipped name) into the folder `out` [runs/NAME].

    `settings` override keys: {"stage.0.epochs": 2}, or as --set takes them. `resume` goes on with an
    unfinished run, `force` replaces what is there, `cache` is what `tledge data --pack` wrote. Raises
    RecipeError, RunError, DataError, and MissingError where photos, weights or Keras are not here.
    """
    lines = _settings(settings)
    made, text = lookup.read_recipe(os.fspath(recipe), lines)
    folder = Path("runs", made.meta.name) if out is None else Path(out)
    trained = pipeline.train(
        made, text, folder,
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
    """Convert a run (the newest in runs/ without one), verify every artifact in it, and bundle what passed.

    Makes these `variants`, or those of the recipe; `sign` is the file of a private key to sign the bundle
    with. Raises RecipeError for a name or a key that is none, ConversionError where a converter fails;
    and, unless `unverified` bundles what did not pass as well, ParityFailed or ArtifactError with the
    reasons: `parity.json` in the run holds all figures then.
    """
    folder, recipe = lookup.open_finished_run(_path(run))
    wanted = recipe.export.variants if variants is None else tuple(variants)
    require_variants(wanted, "variants")
    signer = None if sign is None else signing.signer(Path(sign))
    for remark in signer.remarks if signer else ():
        watch.say(f"warning: {remark}")
    with folder.alone():
        conversion_export.export(folder, recipe, wanted, watch)
        report = verification_verify.verify_run(folder, recipe.parity, progress=watch)
        if not report.passed and not unverified:
            raise verification_verify.failure(report)
        return Exported(report, bundle_run(folder, unverified=unverified, sign=signer, progress=watch))


def verify(
    model: Named, *, kernels: str = "xnnpack", key: Named | None = None, watch: Progress = SILENT
) -> ParityReport:
    """Hold a run's artifacts to Keras' golden set, or a bundle to its own on this machine.

    `key` is a public key's file, whose owner has to have signed the bundle as it is.

    The report says what passed, and raises nothing for what did not. Raises RunError where there is
    nothing to verify, ArtifactError for a bundle that is damaged as a whole or not signed so.
    """
    path = Path(model)
    if is_bundle(path):
        return verification_verify.verify_bundle(path, key=_public(key), kernels=kernels, progress=watch)
    if key is not None:
        raise RecipeError(f"{path}: a key checks the signature of a bundle, and this is none.")
    folder, recipe = lookup.open_finished_run(path)
    return verification_verify.verify_run(folder, recipe.parity, kernels=kernels, progress=watch)


def compare(
    a: Named,
    b: Named,
    *,
    variants: Sequence[str] = (),
    kernels: str = "xnnpack",
    watch: Progress = SILENT,
) -> ComparedReport:
    """May B take the place of A? Each is a bundle or a run; the `verdict` says it in a word.

    Raises RecipeError where the two have nothing in common.
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


def _settings(asked: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """Settings as --set takes them; numbers, truths and lists are the same in JSON and TOML."""
    if isinstance(asked, str):
        return (asked,)
    if not isinstance(asked, Mapping):
        return tuple(asked)
    texts = {key: one if isinstance(one, str) else json.dumps(one) for key, one in asked.items()}
    return tuple(f"{key}={text}" for key, text in texts.items())
