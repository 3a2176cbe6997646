"""Open somebody else's model in a process of its own: `python -m tledge.adoption.worker PATH SIZE`.

The worker prints one line of JSON when it has opened the model, with what it is, or why it is refused. Then
each line on stdin is a request, and each reply is a line of JSON. Images and probabilities are exchanged as
`.npy` files in a folder that the process which started this one has made.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tledge._process import limited_child
from tledge.adoption import affine, flattening, normalizing, source
from tledge.adoption.facts import ModelFacts
from tledge.contract import INPUT_NAME, OUTPUT_NAME
from tledge.errors import ArtifactError, RecipeError, RunError, TledgeError, error_to_json
from tledge.preprocessing.scaling import Scaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIFFERENCE = 1e-4
"""Largest difference of a probability between a model and what is made of it."""


def main(path: str, size: str) -> None:
    """Open the model and answer requests until stdin ends, or the process that started this one."""
    limited_child.enter()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no reply
    try:
        adopter = Adopter(Path(path), int(size))
    except Exception as error:
        print(json.dumps(error_to_json(_explained(error, path))), file=replies, flush=True)
        return
    print(json.dumps(asdict(adopter.facts)), file=replies, flush=True)
    for line in sys.stdin:
        print(_reply(adopter, json.loads(line)), file=replies, flush=True)


def _explained(error: Exception, path: str) -> TledgeError:
    """Return an error of tledge's for whatever opening a strange model raised."""
    if isinstance(error, TledgeError):
        is_named = str(error).startswith(path)
        return error if is_named else type(error)(f"{path}: {error}")
    reason = " ".join(str(error).split())[:300] or repr(error)
    return ArtifactError(f"{path}: this model cannot be adopted ({reason}).")


def _reply(adopter: Adopter, request: dict[str, Any]) -> str:
    try:
        if request["do"] == "save":
            return json.dumps(adopter.save(_scaling(request), Path(request["out"])))
        adopter.predict(request)
        return "{}"
    except TledgeError as error:
        return json.dumps(error_to_json(error))
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        return json.dumps(error_to_json(RunError(f"the model does not predict ({reason}).")))


def _scaling(request: dict[str, Any]) -> Scaling:
    fields = request["scaling"]
    return Scaling(fields["name"], tuple(fields["mean"]), tuple(fields["std"]), fields["order"])


class Adopter:
    """An opened model, taken apart; it predicts with any scaling in front, and saves one."""

    def __init__(self, path: Path, size: int) -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        opened = source.open_source(path, (size, size) if size else None)
        self._model = opened.model
        shape = _photo_shape(self._model, size)
        self._flat = flattening.flatten(self._model, shape)
        self._parts = normalizing.take_apart(self._flat.model)
        self._size = shape
        self._networks: dict[str, Any] = {}
        self._final: Any = None
        self.facts = self._facts(opened)

    def _facts(self, opened: source.OpenedModel) -> ModelFacts:
        flat = self._flat
        low, high = self._parts.own.range_of(255.0)
        layers = tuple(str(layer.name) for layer in flat.model.layers)
        return ModelFacts(
            framework=opened.framework,
            version=opened.version,
            size=self._size,
            channels=int(flat.model.inputs[0].shape[-1]),
            classes=max(2, int(flat.model.outputs[0].shape[-1])),
            parameters=int(flat.model.count_params()),
            ending=self._parts.ending,
            removed=flat.removed,
            names=(str(self._model.name), *flat.nested, *layers),
            retyped=flat.retyped,
            has_preprocessing=self._parts.has_own,
            low=low,
            high=high,
            low_of_one=self._parts.own.range_of(1.0)[0],
            high_of_one=self._parts.own.range_of(1.0)[1],
            is_contract=_is_contract(self._model, flat),
        )

    def _network(self, scaling: Scaling) -> Any:
        """Return the whole model with a scaling in front."""
        if scaling.name not in self._networks:
            total = self._parts.own.after(affine.of_scaling(scaling))
            self._networks[scaling.name] = normalizing.assemble(
                self._parts, total, self._size, str(self._model.name)
            )
        return self._networks[scaling.name]

    def predict(self, request: dict[str, Any]) -> None:
        """Predict the images of a `.npy` file into another one."""
        import numpy as np

        from tledge.data.streaming import in_batches
        from tledge.models import classifier

        images = np.load(request["images"], mmap_mode="r", allow_pickle=False)
        network = self._final if request["do"] == "final" else self._network(_scaling(request))
        if request.get("together"):
            outputs = np.asarray(network.predict_on_batch(np.asarray(images, np.float32)), np.float32)
        else:
            batches = in_batches(images, np.arange(len(images)), 32)
            outputs = np.concatenate(list(classifier.predict_batches(network, batches)))
        np.save(request["out"], outputs)

    def save(self, scaling: Scaling, out: Path) -> dict[str, Any]:
        """Save the model with this scaling in front; afterwards, "final" requests predict with it.

        A model that keeps the contract already is not rebuilt: "unchanged" in the reply tells so.
        """
        from tledge.models import classifier

        is_kept = self.facts.is_contract and scaling.is_bytes
        self._final = self._model if is_kept else self._network(scaling)
        if not is_kept:
            self._require_equal(scaling)
        classifier.save(self._final, out)
        return {"unchanged": is_kept}

    def _require_equal(self, scaling: Scaling) -> None:
        """Compare with the model as it was opened, on an image of many values."""
        import numpy as np

        image = (np.arange(self._size[0] * self._size[1] * 3) * 31 % 256).reshape(1, *self._size, 3)
        outputs = np.asarray(self._final.predict_on_batch(image.astype(np.float32)))
        original = self._original(scaling.apply(self._in_own_channels(image.astype(np.uint8))))
        difference = float(np.abs(outputs - original).max())
        if not difference <= DIFFERENCE:
            raise ArtifactError(
                f"the rebuilt model's probabilities differ by {difference:.2g} from the original's; expected "
                f"at most {DIFFERENCE:g}. It cannot be adopted."
            )

    def _in_own_channels(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        import numpy as np

        from tledge.preprocessing.scaling import LUMA

        if self.facts.channels == 3:
            return image
        return np.asarray(image @ np.array(LUMA, np.float32))[..., None]

    def _original(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities of the model as it was opened."""
        import numpy as np

        outputs = np.asarray(self._model(inputs, training=False), np.float64)
        if self._parts.ending == "softmax":
            return outputs
        if self._parts.ending == "logits":
            powers = np.exp(outputs - outputs.max(-1, keepdims=True))
            return np.asarray(powers / powers.sum(-1, keepdims=True))
        positive = outputs if self._parts.ending == "sigmoid" else 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - positive, positive], -1)


def _photo_shape(model: Any, size: int) -> tuple[int, int]:
    """Return height and width of the photos that a model takes.

    Raises:
        ArtifactError: it takes no photos.
        RecipeError: it takes any size, and none is given; or another one than the given.
    """
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[-1] not in (1, 3):
        raise ArtifactError(
            f"the model's input has the shape {list(shape)}; expected photos [None, height, width, 3]."
        )
    own = next((side for side in shape[1:3] if side), None)
    if own is None and not size:
        raise RecipeError("the model takes photos of any size. Give that of its training: --image-size 224")
    height, width = (side or own or size for side in shape[1:3])
    if height != width:
        raise RecipeError(
            f"the model takes photos of {height}x{width} pixels; tledge prepares square ones only."
        )
    if size and own and size != own:
        raise RecipeError(
            f"the model takes photos of {own}x{own} pixels, not {size}. Leave --image-size out."
        )
    return int(height), int(width)


def _is_contract(model: Any, flat: flattening.Flat) -> bool:
    """Tell whether a model is as tledge saves it: flat, with the contract's names, ending in a Softmax."""
    return (
        flat.is_unchanged
        and type(model).__name__ == "Functional"
        and model.inputs[0].dtype == "float32"
        and model.layers[0].name == INPUT_NAME
        and type(model.layers[-1]).__name__ == "Softmax"
        and model.layers[-1].name == OUTPUT_NAME
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
