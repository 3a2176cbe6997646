"""Augmentation: only while training, every kind of it, and re-sampling beside Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.fake_models import images, small_net
from tledge import config

NEAREST, BILINEAR, BICUBIC = range(3)

TABLE = config.Augment(resize_jitter=1.0)


def drawn_matrix(side: int, coarse: int, down: int, up: int, smooth: bool, shift: float = 0.0) -> Any:
    from keras import ops

    from tledge.models import augmentation

    values = [np.array([one], np.float32) for one in (coarse, down, up, shift)]
    made = augmentation.resampling_matrix(
        side, values[0], values[1], values[2], np.array([smooth]), values[3]
    )
    return ops.convert_to_numpy(made)[0]


def pillow(column: Any, length: int, how: Image.Resampling) -> Any:
    """A float32 column of values resized by Pillow."""
    image = Image.fromarray(np.asarray(column, np.float32)[:, None])
    return np.asarray(image.resize((1, length), how))[:, 0]


def column(side: int = 24) -> Any:
    return np.random.default_rng(5).uniform(0, 255, side).astype(np.float32)


@pytest.mark.parametrize("kernel", range(3))
@pytest.mark.parametrize("smooth", [False, True])
def test_same_size_changes_nothing(kernel: int, smooth: bool) -> None:
    assert np.abs(drawn_matrix(24, 24, kernel, kernel, smooth) - np.eye(24)).max() < 1e-6


@pytest.mark.parametrize("coarse", [12, 17])
@pytest.mark.parametrize(
    ("down", "up", "smooth", "how"),
    [
        (BILINEAR, BILINEAR, True, (Image.Resampling.BILINEAR, Image.Resampling.BILINEAR)),
        (BICUBIC, BICUBIC, True, (Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)),
        (BILINEAR, BICUBIC, True, (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)),
        (NEAREST, NEAREST, False, (Image.Resampling.NEAREST, Image.Resampling.NEAREST)),
        (NEAREST, BILINEAR, False, (Image.Resampling.NEAREST, Image.Resampling.BILINEAR)),
    ],
)
def test_pillow_scales_alike(coarse: int, down: int, up: int, smooth: bool, how: Any) -> None:
    """Away from the edge, where Pillow leaves out what lies beyond; no place on a border."""
    wanted = pillow(pillow(column(), coarse, how[0]), 24, how[1])
    found = drawn_matrix(24, coarse, down, up, smooth) @ column()
    assert np.abs(found - wanted)[4:-4].max() < 1e-3


def test_area_is_a_wide_nearest() -> None:
    found = drawn_matrix(24, 12, NEAREST, NEAREST, smooth=True) @ column()
    assert np.allclose(found, np.repeat(column().reshape(12, 2).mean(1), 2), atol=1e-3)


def test_shift_takes_the_neighbour() -> None:
    found = drawn_matrix(24, 12, NEAREST, NEAREST, smooth=False, shift=-0.4) @ column()
    assert np.array_equal(found, np.repeat(column()[::2], 2))


def test_even_light_stays_even() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        choice = (int(rng.integers(6, 25)), *rng.integers(0, 3, 2).tolist(), bool(rng.integers(2)))
        rows = drawn_matrix(24, *choice, shift=float(rng.uniform(-0.5, 0.5))).sum(1)
        assert np.allclose(rows, 1, atol=1e-5), choice


def test_about_half_are_changed() -> None:
    from tledge.models import augmentation

    batch = np.repeat(images(), 8, 0).astype(np.float32)
    made = np.asarray(augmentation.random_resize_layer(1.0, seed=3)(batch, training=True))
    changed = (made != batch).any((1, 2, 3)).mean()
    assert 0.3 < changed < 0.7
    assert made.min() >= 0 and made.max() <= 255 and len(np.unique(made, axis=0)) > 32


def test_nothing_but_training_is_changed() -> None:
    from tledge.models import augmentation

    net = small_net()
    batch = images().astype(np.float32)
    plain = net(batch, training=False).numpy()
    whole = augmentation.with_augmentation(net, TABLE, seed=1)
    assert np.array_equal(whole(batch, training=False).numpy(), plain)
    assert np.array_equal(whole.predict(batch, verbose=0), net.predict(batch, verbose=0))
    assert not np.allclose(whole(batch, training=True).numpy(), plain, atol=1e-4)
    assert not any("jitter" in layer.name for layer in net.layers)


def test_seed_decides_what_is_drawn() -> None:
    from tledge.models import augmentation

    batch = images().astype(np.float32)
    first, again, other = (
        np.asarray(augmentation.random_resize_layer(1.0, seed)(batch, training=True)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_trains_alike_again() -> None:
    from tledge.models import augmentation

    def trained() -> Any:
        whole = augmentation.with_augmentation(small_net(), TABLE, seed=1)
        whole.compile("sgd", "categorical_crossentropy")
        labels = np.eye(3, dtype=np.float32)[np.arange(16) % 3]
        whole.fit(images().astype(np.float32), labels, batch_size=8, shuffle=False, verbose=0)
        return whole.get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(trained(), trained(), strict=True))


def test_views_are_drawn() -> None:
    from tledge.models import augmentation

    first, again = (augmentation.make_augmenter(TABLE, seed=4) for _ in range(2))
    one, two = first(images()), first(images())
    assert one.dtype == np.uint8 and np.array_equal(one, again(images()))
    assert not np.array_equal(one, two) and not np.array_equal(one, images())


def test_twin_is_made_from_its_configuration() -> None:
    """As training on several hosts does."""
    from tledge.models import augmentation

    whole = augmentation.with_augmentation(small_net(), TABLE, seed=1)
    twin = type(whole).from_config(whole.get_config())
    twin.set_weights(whole.get_weights())
    batch = images().astype(np.float32)
    assert np.array_equal(twin(batch, training=True).numpy(), whole(batch, training=True).numpy())


@pytest.fixture
def net() -> Any:
    return small_net()


def test_augmentation_only_while_training(net: Any) -> None:
    from tledge.models import augmentation

    table = config.Augment(flip="horizontal", rotation=0.2, brightness=0.3, saturation=0.3, hue=0.1)
    whole = augmentation.with_augmentation(net, table, seed=1)
    batch = images().astype(np.float32)
    plain = net(batch, training=False).numpy()
    assert np.array_equal(whole(batch, training=False).numpy(), plain)
    assert not np.allclose(whole(batch, training=True).numpy(), plain, atol=1e-4)
    assert not any("random" in layer.name for layer in net.layers)


def test_every_augmentation_builds() -> None:
    from dataclasses import fields

    from tledge.models import augmentation

    for one in fields(config.Augment):
        if one.name in ("fill", "views", "keep_photo"):
            continue
        value = "vertical" if one.name == "flip" else 0.2
        (layer,) = augmentation.augmentation_layers(config.Augment(**{one.name: value}), seed=0)
        made = layer(images(4).astype(np.float32), training=True)
        assert made.shape == (4, 32, 32, 3), one.name
