"""Describe this machine: processor, memory, installed packages, GPUs."""
