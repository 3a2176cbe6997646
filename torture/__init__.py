"""Try on purpose what happens to real tools, and check that tledge survives it: `python -m torture`."""
