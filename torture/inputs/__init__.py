"""Damaged, odd, hostile and mutated files that the cases give to tledge."""
