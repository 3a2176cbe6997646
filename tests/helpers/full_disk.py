"""A disk that is full."""

from __future__ import annotations

import errno

FULL = OSError(errno.ENOSPC, "No space left on device")
