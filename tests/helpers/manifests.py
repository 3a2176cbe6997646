"""A manifest with a value in every field."""

from __future__ import annotations

from tledge.bundle.manifest import GoldenCase, Manifest, Shipped
from tledge.contract import AbstentionPolicy, InputSpec

MANIFEST = Manifest(
    name="flowers",
    version="1.2",
    description="Blümchen, 花",
    synthetic=False,
    labels=("daisy", "red rose", "チューリップ"),
    input=InputSpec(96, 128),
    parameters=12_345,
    artifacts=(
        Shipped("tflite-int8", "models/tflite-int8.tflite", "ab" * 32, 4321, "passed", 0.91, 0.99, "xnnpack"),
        Shipped("onnx-fp32", "models/onnx-fp32.onnx", "cd" * 32, 98765, "undecided"),
    ),
    golden=(GoldenCase("golden/000.jpg", "daisy", "red rose", 0),),
    tledge="1.0",
    confidence=AbstentionPolicy(1.87, 0.62, 300, 0.95, 0.01),
)
