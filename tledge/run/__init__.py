"""The run folder: its paths and lock, the frozen records in it, the golden set."""
