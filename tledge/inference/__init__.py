"""Open any model file, bundle or run, predict photos with it, and measure it."""
