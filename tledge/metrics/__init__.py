"""Figures computed from probabilities: intervals, tests, calibration, agreement gates, recall, abstention."""
