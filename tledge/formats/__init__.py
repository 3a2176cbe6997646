"""SavedModel, TFLite and ONNX: convert, open, inspect."""
