"""Read and write a run folder: its paths and lock, the records in it, the golden set."""
