"""Latency and memory of artifacts, each measured in a process of its own."""
