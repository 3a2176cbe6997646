"""Groups of cases: each module that `torture.runner.GROUPS` names has a tuple `CASES`."""
