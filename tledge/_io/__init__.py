"""Read and write files safely: atomic writes, lock files, guarded zips, checked JSON, arrays, hashes."""
