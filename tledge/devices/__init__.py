"""Fill device projects, and measure the memory that a model needs on a microcontroller."""
