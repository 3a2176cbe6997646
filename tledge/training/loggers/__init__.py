"""Who is told of a training: TensorBoard, MLflow."""
