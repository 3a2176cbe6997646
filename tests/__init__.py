"""Tests of tledge; `tests/helpers` holds what they share."""
