"""Run the torture cases: `python -m torture`."""

import sys

from torture.runner import main

sys.exit(main())
