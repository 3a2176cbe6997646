"""Where photos come from: folders, tables, TFRecord files, TensorFlow Datasets, drawings."""
