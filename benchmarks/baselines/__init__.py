"""What one would write by hand: each script runs alone, by its path.

They import nothing of this repository, so that their times hold no cost of tledge and anyone can copy one
into a project of their own. Three of them also offer a function that a benchmark calls in its own process.
"""
