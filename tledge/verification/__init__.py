"""Compare an artifact with Keras, a bundle with its own record, a model with another."""
