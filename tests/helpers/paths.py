"""Where things lie: the repository, the tests, and the real photos that some tests need."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
REAL_DATA = Path(os.environ.get("TLEDGE_TEST_DATA", ROOT.parent / "shared" / "data"))
