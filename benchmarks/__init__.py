"""Compare tledge with plain Keras on the same work: `python -m benchmarks`; see README.md."""
