"""Run `.tflite` and `.onnx` files without TensorFlow: sessions, the crash sandbox, the latency loop."""
