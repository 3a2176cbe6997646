"""`serve_jpeg` prepares encoded photos as everywhere, within a grey level, or refuses them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.deep_images import png16
from tledge.errors import ArtifactError
from tledge.formats import saved_model
from tledge.models import saved_model_judgement
from tledge.preprocessing.image import preprocess

SIZE = (40, 48)
PHOTO = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)).resize((110, 90))
)
DEEP = PHOTO.astype(np.uint16) * 257
FADING = Image.fromarray(np.linspace(0, 255, 90 * 110).astype(np.uint8).reshape(90, 110))


def encoded(mode: str, kind: str = "PNG", colours: int = 0, **options: Any) -> bytes:
    image = Image.fromarray(PHOTO).convert(mode.removesuffix("A"))
    if mode.endswith("A"):
        image.putalpha(FADING)
    image = image.quantize(colours) if colours else image
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


PHOTOS = {
    "colour": encoded("RGB"),
    "colour and alpha": encoded("RGBA"),
    "grey and alpha": encoded("LA"),
    "colour that is transparent": encoded("RGB", transparency=tuple(PHOTO[0, 0].tolist())),
    "grey": encoded("L"),
    "black and white": encoded("1"),
    "palette of 2 bits": encoded("RGB", colours=4),
    "palette of 4 bits": encoded("RGB", colours=16),
    "palette of 8 bits": encoded("RGB", colours=200),
    "palette of 2 bits, transparent": encoded("RGB", colours=4, transparency=1),
    "palette of 4 bits, half transparent": encoded("RGB", colours=16, transparency=bytes(range(0, 256, 16))),
    "16 bits, grey": png16(DEEP[..., 0]),
    "16 bits, colour": png16(DEEP),
    "16 bits and alpha": png16(np.dstack([DEEP, np.asarray(FADING).astype(np.uint16) * 257])),
    "JPEG": encoded("RGB", "JPEG"),
    "grey JPEG": encoded("L", "JPEG"),
    "CMYK JPEG": encoded("CMYK", "JPEG"),
    "GIF": encoded("RGB", "GIF", colours=64),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The signature in a SavedModel of its own, judged and loaded as a stranger's: photos to their pixels."""
    tf = saved_model.tensorflow()

    def prepared(photo: Any) -> Any:
        return saved_model._prepared(tf, photo, *SIZE)

    module, folder = tf.Module(), tmp_path_factory.mktemp("model") / "saved_model"
    function = tf.function(lambda photos: tf.map_fn(prepared, photos, fn_output_signature=tf.uint8))
    signature = function.get_concrete_function(tf.TensorSpec((None,), tf.string, "image_bytes"))
    tf.saved_model.save(module, str(folder), signatures={"serve_jpeg": signature})
    saved_model_judgement.require_data(folder, ArtifactError, more=saved_model_judgement.PHOTOS)
    serve = tf.saved_model.load(str(folder)).signatures["serve_jpeg"]
    return lambda photo: serve(image_bytes=tf.constant([photo]))["output_0"].numpy()[0]


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_prepared_within_a_level(served: Any, name: str) -> None:
    difference = np.abs(served(PHOTOS[name]).astype(int) - preprocess(PHOTOS[name], SIZE))
    assert difference.max() <= 1, name


@pytest.mark.parametrize("photo", [png16(DEEP >> 4), png16(DEEP[..., 0] >> 4), png16(DEEP >> 2)])
def test_dark_16_bits_are_refused(served: Any, photo: bytes) -> None:
    with pytest.raises(Exception, match="its range is not known"):
        served(photo)
