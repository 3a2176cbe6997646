"""Read and write files safely: atomic writes, lock files, checked zips and JSON, arrays, hashes."""
