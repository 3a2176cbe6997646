"""Reports of slow commands as they were recorded once, with the longest names and figures that there are."""

from __future__ import annotations

from tledge.config import Parity
from tledge.doctor import Ability, Backend, Checkup, Disk, Package, VariantHere
from tledge.environment.machine import Machine
from tledge.inference.bench import BenchReport, Measure
from tledge.inference.predict import Answer, Prediction
from tledge.run.records import ParityReport, ParityRow, Reference
from tledge.runtime.latency import Minimum
from tledge.verification.compare_models import ComparedModel, ComparedReport, ComparedRow

MACHINE = Machine("AMD EPYC", "x86_64", 2, 24_064, "Linux 6.18", "3.11.7", {"numpy": "2.4.6"}, 0.4)

VERDICTS = ParityReport(
    False,
    Reference(0.8611, 36, ece=0.1141, coverage=0.889, answered_error=0.125),
    tuple(
        ParityRow(
            variant, "file", "sha256", 3_120_000, verdict, structural=False, reasons=reasons,
            kernels="onnxruntime-cpu",
            images=36, accuracy=0.8056, accuracy_change=-0.0556, change_low=-0.139, change_high=0.0,
            agreement=0.9444, agreement_low=0.8186, agreement_high=0.9846, max_abs_dp=0.31, mcnemar_p=0.5,
            ece=0.1367, lost=2, won=0, moved=0, flips="evidence/flips.json",
        )
        for variant, verdict, reasons in (
            ("saved_model", "passed", ()),
            ("tflite-int16x8", "failed", ("agrees with Keras on 34 of 36 images (94.4%)",)),
            ("tflite-dynamic", "undecided", ("confirming at least 98% needs at least 50 images",)),
        )
    ),
)  # fmt: skip

COMPARED = ComparedReport(
    a=ComparedModel("runs/mine", "mine", "1"),
    b=ComparedModel("runs/mine-with-more-photos", "mine", "2"),
    verdict="worse",
    summary="B is worse than A in 1 of 2 variants.",
    labels=(),
    contract=(),
    images=300,
    images_of="A's test split",
    rows=(
        ComparedRow("tflite-dynamic", "worse", 1_578_000, 1_578_000, 0.8611, 0.8056, -0.0556, -0.139, 0.001,
                    0.0124, 0.9444, 13, 2, p50_ms_a=12.25, p50_ms_b=11.75),
        ComparedRow("saved_model", "not compared", 3_172_000, 3_172_000, reasons=("a server format",)),
    ),
    only_a=(),
    only_b=("onnx-fp32",),
    remarks=("Latencies hold for this machine alone: one thread, single images, A and B in turn.",),
    limits=Parity(),
    machine=MACHINE,
)  # fmt: skip

BENCHED = BenchReport(
    name="mine",
    model="runs/mine",
    machine=MACHINE,
    official=False,
    minimum=Minimum(100, 1.0),
    rows=(
        Measure("tflite-int16x8", "a", 1_578_000, "xnnpack", 2, "measured", 0.8611, "xnnpack", "passed",
                12.25, 1.861, 2.25, 3.125, 25_641.3, 1000, 2.0, 123.4, 12.3),
        Measure("saved_model", "b", 3_172_000, "", None, "skipped", 0.8611, "", "passed",
                reason="a server format that no device runtime opens"),
    ),
    remarks=("The machine was busy: other processes may have slowed it down.",),
)  # fmt: skip

_CAN, _CANNOT = Ability(True), Ability(False, ("mlflow",), "pip install mlflow")

CHECKUP = Checkup(
    tledge="0.1.0",
    python="/home/somebody/projects/flowers/.venv/bin/python",
    machine=MACHINE,
    memory_free_mib=19_456,
    disks=(Disk("prepared photos", "/home/somebody/.cache/tledge", 27_648, 100_000),),
    backends=(Backend("TensorFlow", "2.21.0"), Backend("JAX", "")),
    cards=(),
    packages=(Package("soupsieve", "2.10", "2.9"), Package("numpy", "2.4.6", "2.4.6")),
    tasks={"train with TensorFlow": _CAN, "log to MLflow": _CANNOT},
    variants=(VariantHere("tflite-int16x8", "integers", _CAN, _CAN, _CANNOT),),
    remarks=("One GPU of the driver is used by neither backend.",),
)

ANSWERS = (
    Answer("photos/roses/11102341464_508d558dfc_n.jpg", (
        Prediction("tulips", 0.465, 0.5), Prediction("roses", 0.435, 0.3),
        Prediction("common dandelion", 0.1, 0.2),
    ), abstained=True),
    Answer("photos/roses/no.jpg", (), "not an image, but text. Leave it out, or export it anew as JPEG."),
)  # fmt: skip
