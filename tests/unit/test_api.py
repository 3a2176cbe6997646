"""What `import tledge` offers: which names, how light, and what is said of a missing model."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tledge
from tests.helpers.paths import ROOT
from tledge import api
from tledge.errors import RecipeError

NAMES = [
    "Answer", "Classifier", "ComparedReport", "Exported", "ParityReport", "Prediction", "Run", "TledgeError",
    "__version__", "adopt", "compare", "export", "load", "train", "verify",
]  # fmt: skip

FUNCTIONS = ["adopt", "compare", "export", "load", "train", "verify"]


def test_names_are_fixed() -> None:
    assert tledge.__all__ == NAMES
    assert api.__all__ == [name for name in NAMES if name != "__version__"]
    assert set(NAMES) <= set(dir(tledge))


def test_names_are_what_the_api_has() -> None:
    for name in api.__all__:
        assert getattr(tledge, name) is getattr(api, name)
        assert (getattr(tledge, name).__doc__ or "").count(" ") > 4, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_typed_and_short_to_call(name: str) -> None:
    signature = inspect.signature(getattr(tledge, name))
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
    asked = [one.name for one in signature.parameters.values() if one.default is inspect.Parameter.empty]
    assert asked in (["a", "b"], ["model"], ["model", "photos"], ["recipe"], [])


def test_no_module_stands_in_a_names_place() -> None:
    """An imported submodule becomes an attribute of its package, where it would hide the function."""
    modules = {path.stem for path in (ROOT / "tledge").iterdir()}
    assert "training" in modules and not modules & set(NAMES)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        getattr(tledge, "trian")  # noqa: B009


def test_api_loads_no_heavy_library() -> None:
    code = (
        "import sys, tledge\nassert 'tledge.api' not in sys.modules\ntledge.load\n"
        "heavy = {'numpy', 'PIL', 'keras', 'tensorflow', 'rich', 'click'}\n"
        "print('tledge.api' in sys.modules, *heavy & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_package_says_that_it_is_typed() -> None:
    assert (ROOT / "tledge" / "py.typed").read_bytes() == b""


def test_missing_model_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such model, bundle or run"):
        tledge.load(tmp_path / "none.tflite")


def test_recipe_of_no_name_is_explained() -> None:
    with pytest.raises(tledge.TledgeError, match="quickstart"):
        tledge.train("quickstrat")
