"""Packages that tledge may find, by name."""

from __future__ import annotations

from tledge import doctor
from tledge.formats.registry import FORMATS, VARIANTS

EVERYTHING = {
    *(name for one in VARIANTS.values() for name in one.to_convert.modules),
    *(name for one in FORMATS.values() for name in (*one.to_open.modules, *one.to_inspect.modules)),
    *(name for one in doctor.TASKS.values() for name in one.modules),
}
