"""Make a run of a model that was trained elsewhere."""
