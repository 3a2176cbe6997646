"""Images between the classes, on which remedies are judged."""

import numpy as np

from tledge.quantization import selection_images


def test_images_between_classes() -> None:
    """Each is laid over one of another class, in all shares; alone in its class, nothing is."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    images = np.repeat(labels * 100, 12).reshape(6, 2, 2, 3).astype(np.uint8)
    found = selection_images.blend_between_classes(images, labels)
    assert found.shape == (18, 2, 2, 3) and found.dtype == np.uint8
    half = found[6:12, 0, 0, 0].astype(int)
    assert np.array_equal(2 * half - 100 * labels == 100 * labels, [False] * 6)
    assert set((2 * half - 100 * labels).tolist()) <= {0, 100, 200}
    assert len(selection_images.blend_between_classes(images[:3], labels[:3])) == 0
