"""Quantization algorithms on graphs and arrays; they know no run folder."""
