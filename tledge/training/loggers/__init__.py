"""Loggers of a training: TensorBoard, MLflow."""
