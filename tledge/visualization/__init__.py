"""Plots, contact sheets, and how figures are written as text."""
