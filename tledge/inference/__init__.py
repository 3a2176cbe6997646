"""Open any model file, bundle or run, and predict photos with it."""
