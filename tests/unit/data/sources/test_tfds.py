"""Downloads of TensorFlow Datasets that fail."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tledge.data.sources import tfds
from tledge.errors import DataError


@pytest.fixture
def downloader(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for the module of TensorFlow Datasets that downloads, without loading TensorFlow."""
    name = "tensorflow_datasets.core.download"
    module = ModuleType(f"{name}.downloader")
    module.MAX_RETRIES = 10  # type: ignore[attr-defined]
    package = ModuleType(name)
    package.downloader = module  # type: ignore[attr-defined]
    for part in ("tensorflow_datasets", "tensorflow_datasets.core"):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, f"{name}.downloader", module)
    return module


@pytest.fixture
def log() -> logging.Logger:
    log = logging.getLogger("urllib3.connectionpool")
    log.setLevel(logging.NOTSET)
    return log


def test_few_retries_while_a_set_is_downloaded(downloader: ModuleType, log: logging.Logger) -> None:
    with tfds._few_retries():
        assert (downloader.MAX_RETRIES, log.level) == (tfds.RETRIES, logging.ERROR)
    assert (downloader.MAX_RETRIES, log.level) == (10, logging.NOTSET)


def test_other_threads_of_a_failed_download_are_not_heard(
    downloader: ModuleType, log: logging.Logger
) -> None:
    """The thread that gives up first ends the download; another may be before its last retry."""
    with pytest.raises(ConnectionError), tfds._few_retries():
        raise ConnectionError
    assert downloader.MAX_RETRIES == 10
    assert not log.isEnabledFor(logging.WARNING)
    log.setLevel(logging.NOTSET)


def test_feature_with_several_labels_is_refused() -> None:
    tags = SimpleNamespace(names=["cat", "dog"], shape=(None,))  # as Sequence(ClassLabel) looks
    label = SimpleNamespace(names=["cat", "dog"], shape=())
    info = SimpleNamespace(name="pairs", features={"image": None, "label": label, "tags": tags})
    assert tfds._label_names(SimpleNamespace(info=info), "image", "label") == ["cat", "dog"]
    with pytest.raises(DataError, match="'tags' holds several labels of a photo, expected one"):
        tfds._label_names(SimpleNamespace(info=info), "image", "tags")
