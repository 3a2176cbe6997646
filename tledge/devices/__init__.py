"""Device projects, and what a model takes of a microcontroller."""
