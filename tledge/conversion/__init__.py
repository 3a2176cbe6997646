"""From a run to its artifacts: calibration data, the converting process, the diagnosis of layers."""
