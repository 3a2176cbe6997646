"""SavedModels as trainable Keras layers: the same answers, gradients, bytes and artifacts; faults."""

import base64
import json
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tledge.errors import MissingError, RecipeError
from tledge.models import saved_model_layer

SIDE = 24


def photos(count: int = 5) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def scaled(count: int = 5) -> Any:
    return photos(count).astype(np.float32) / 255


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `model.export` of Keras makes: signatures and nothing to call; batch norm has moved."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="Conv1")(inputs)
    x = layers.BatchNormalization(name="bn_Conv1")(x)
    x = layers.Activation("silu")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="bn_depthwise")(x))
    net = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    for one in ("bn_Conv1", "bn_depthwise"):
        net.get_layer(one).moving_mean.assign(np.linspace(-0.1, 0.2, 8))
        net.get_layer(one).moving_variance.assign(np.linspace(0.02, 0.2, 8))
    folder = tmp_path_factory.mktemp("exported") / "net"
    net.export(str(folder), verbose=False)
    return folder


def save_module(folder: Path, *, kind: str = "features") -> Path:
    """A reusable SavedModel as TF-Hub holds them, of a kind that may be one we cannot take."""
    import tensorflow as tf

    values = np.random.default_rng(2)
    net = tf.train.Checkpoint()

    def variable(name: str, shape: tuple[int, ...], trainable: bool = True) -> Any:
        start = np.abs(values.normal(0.2, 0.1, shape)).astype(np.float32)
        return tf.Variable(start, name=name, trainable=trainable)

    kernel = variable("Conv1/kernel", (3, 3, 3, 6))
    scale, shift = variable("Conv1/BatchNorm/gamma", (6,)), variable("Conv1/BatchNorm/beta", (6,))
    mean = variable("Conv1/BatchNorm/moving_mean", (6,), trainable=False)
    spread = variable("Conv1/BatchNorm/moving_variance", (6,), trainable=False)
    alike = variable("Conv1/kernel", (1, 1, 6, 4))
    net.variables = [kernel, scale, shift, mean, spread, alike]
    net.trainable_variables = [kernel, shift, alike] if kind == "listed" else [kernel, scale, shift, alike]
    net.regularization_losses = []

    def answer(x: Any, training: bool = False) -> Any:
        x = tf.nn.conv2d(x, kernel, 2, "SAME")
        used = (tf.reduce_mean(x, (0, 1, 2)), spread) if training else (mean, spread)
        x, _, _ = tf.compat.v1.nn.fused_batch_norm(x, scale, shift, *used, is_training=False)
        x = tf.nn.conv2d(tf.nn.silu(x), alike, 1, "SAME")
        if kind == "random":
            x += tf.random.normal(tf.shape(x))
        x = tf.concat(tf.split(x, 2, axis=3)[::-1], 3)  # an operator with more than one output
        vector = tf.reduce_mean(x, (1, 2))
        odd = {"two": {"a": vector, "b": x}, "map": x, "default": {"default": vector, "map": x}}
        return odd.get(kind, vector)

    net.__call__ = tf.function(answer)
    for training in (True, False):
        net.__call__.get_concrete_function(tf.TensorSpec((None, SIDE, SIDE, 3)), training=training)
    tf.saved_model.save(net, str(folder))
    return folder


@pytest.fixture(scope="session")
def reusable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_module(tmp_path_factory.mktemp("reusable") / "net")


def own_answer(folder: Path, images: Any) -> Any:
    """What the SavedModel itself says."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    if callable(loaded):
        return loaded(tf.constant(images), training=False).numpy()
    return loaded.signatures["serve"](tf.constant(images))["output_0"].numpy()


def classifier(folder: Path, classes: int = 3) -> Any:
    """Bytes → features → probabilities, named as tledge's models are."""
    import keras
    from keras import layers

    from tledge.contract import INPUT_NAME, OUTPUT_NAME

    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIDE, SIDE, 3), dtype="float32", name=INPUT_NAME)
    x = saved_model_layer.build(str(folder), layers.Rescaling(1 / 255, name="scale")(inputs))
    logits = layers.Dense(classes, kernel_initializer="random_normal", name="logits")(x)
    return keras.Model(inputs, layers.Softmax(name=OUTPUT_NAME)(logits), name="net")


def features_of(folder: Path) -> Any:
    """The layer alone: float32[N, H, W, 3] in 0..1 → features."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, saved_model_layer.build(str(folder), inputs))


@pytest.mark.parametrize("which", ["exported", "reusable"])
def test_features_are_those_of_the_saved_model(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    net = features_of(folder)
    wanted = own_answer(folder, scaled())
    assert net.output_shape == (None, wanted.shape[1]) and wanted.std() > 0.01
    assert np.abs(net(scaled()).numpy() - wanted).max() < 1e-6
    assert np.abs(net.predict(scaled(), batch_size=2, verbose=0) - wanted).max() < 1e-6
    for weight in net.layers[-1].weights:  # every one counts, and is in its own place
        before = weight.numpy()
        weight.assign(before + 0.05)
        assert np.abs(net(scaled()).numpy() - wanted).max() > 1e-5, weight.path
        weight.assign(before)


def test_weights_carry_readable_names(reusable: Path) -> None:
    layer = features_of(reusable).layers[-1]
    names = {one.path: one.trainable for one in layer.weights}
    assert layer.name == "features" and names == {
        "features/Conv1_kernel": True,
        "features/Conv1_BatchNorm_gamma": True,
        "features/Conv1_BatchNorm_beta": True,
        "features/Conv1_BatchNorm_moving_mean": False,
        "features/Conv1_BatchNorm_moving_variance": False,
        "features/Conv1_kernel_2": True,
    }


def test_listed_variables_alone_are_trainable(tmp_path: Path) -> None:
    layer = features_of(save_module(tmp_path / "net", kind="listed")).layers[-1]
    assert sorted(one.name for one in layer.trainable_weights) == [
        "Conv1_BatchNorm_beta", "Conv1_kernel", "Conv1_kernel_2",
    ]  # fmt: skip


def test_output_may_be_map_or_default(tmp_path: Path, reusable: Path) -> None:
    assert features_of(save_module(tmp_path / "map", kind="map")).output_shape == (None, 12, 12, 4)
    net = features_of(save_module(tmp_path / "default", kind="default"))
    assert np.abs(net(scaled()).numpy() - own_answer(reusable, scaled())).max() < 1e-6


def graph_of(layer: Any) -> Any:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    text = layer.get_config()["graph"]
    return GraphDef.FromString(zlib.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("which", ["exported", "reusable"])
def test_graph_holds_structure_only(which: str, request: pytest.FixtureRequest) -> None:
    """No weight is left behind as a constant, and nothing is named after a process' counters."""
    graph = graph_of(features_of(request.getfixturevalue(which)).layers[-1])
    constants = [node.attr["value"].tensor.tensor_shape for node in graph.node if node.op == "Const"]
    assert constants and all(len(one.dim) <= 1 for one in constants)
    names = [node.name for node in graph.node]
    assert not [name for name in names if "Partitioned" in name] and names[-1] == "features"
    assert not [key for node in graph.node for key in node.attr if key.startswith("_")]


def test_gradients_are_those_of_the_saved_model(reusable: Path) -> None:
    """silu brings a gradient written in Python, which is dropped for that of its operators."""
    import tensorflow as tf

    loaded, net = tf.saved_model.load(str(reusable)), features_of(reusable)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(tf.constant(scaled()), training=False) ** 2)
    wanted = dict(zip(saved_model_layer._weight_names([one.name for one in loaded.trainable_variables]),
                      tape.gradient(loss, list(loaded.trainable_variables)), strict=True))  # fmt: skip
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(scaled()) ** 2)
    weights = net.trainable_weights
    for weight, found in zip(weights, tape.gradient(loss, [one.value for one in weights]), strict=True):
        close = np.allclose(found, wanted[weight.name], rtol=1e-4, atol=1e-5)
        assert close and np.abs(found).max() > 1e-3, weight.name


def changed(net: Any, optimizer: Any) -> dict[str, bool]:
    """Train for two steps, the second of them smaller; which weights of the features moved."""
    layer = net.get_layer("features")
    before = [one.numpy() for one in layer.weights]
    net.compile(optimizer, "categorical_crossentropy")
    net.fit(photos().astype(np.float32), np.eye(3)[[0, 1, 2, 0, 1]], batch_size=3, verbose=0)
    return {
        one.name: bool((one.numpy() != old).any()) for one, old in zip(layer.weights, before, strict=True)
    }


@pytest.mark.parametrize("which", ["exported", "reusable"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_training_moves_all_but_statistics(which: str, name: str, request: pytest.FixtureRequest) -> None:
    import keras

    made = {"sgd": keras.optimizers.SGD(0.1, momentum=0.9), "adam": keras.optimizers.Adam(0.01)}
    moved = changed(classifier(request.getfixturevalue(which)), made[name])
    assert len(moved) >= 6 and sum(moved.values()) >= 4
    assert moved == {one: "moving" not in one for one in moved}


def test_frozen_layer_stays(reusable: Path) -> None:
    net = classifier(reusable)
    net.get_layer("features").trainable = False
    head = net.get_layer("logits").kernel.numpy()
    assert not any(changed(net, "sgd").values())
    assert (net.get_layer("logits").kernel.numpy() != head).any()
    net.get_layer("features").trainable = True
    assert changed(net, "sgd")["Conv1_kernel"]


def test_mixed_precision_stops_at_the_layer(reusable: Path) -> None:
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = classifier(reusable)
    finally:
        keras.config.set_dtype_policy("float32")
    layer = net.get_layer("features")
    assert layer.output.dtype == "float32" and {one.dtype for one in layer.weights} == {"float32"}
    assert np.isfinite(net(photos().astype(np.float32)).numpy()).all()


def python(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ANSWER = """
import sys, numpy as np
from tledge.models import saved_model_layer as hub; from tledge._process import optional_imports as quiet
keras = quiet.load("keras", "export")
hub.register()
net = keras.models.load_model(sys.argv[1], safe_mode=True)
np.save(sys.argv[2], net.predict(np.load(sys.argv[3]), verbose=0))
"""


@pytest.mark.parametrize("which", ["exported", "reusable"])
def test_saved_model_stands_alone(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = shutil.copytree(request.getfixturevalue(which), tmp_path / "net")
    net = classifier(folder)
    changed(net, "sgd")
    net.save(tmp_path / "net.keras")
    shutil.rmtree(folder)
    images = photos().astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    python(ANSWER, tmp_path / "net.keras", tmp_path / "answer.npy", tmp_path / "images.npy")
    assert np.abs(np.load(tmp_path / "answer.npy") - net.predict(images, verbose=0)).max() < 1e-6


def test_unregistered_layer_is_refused(reusable: Path, tmp_path: Path) -> None:
    classifier(reusable).save(tmp_path / "net.keras")
    code = ANSWER.replace("hub.register()\n", "")
    with pytest.raises(AssertionError, match="SavedModelFeatures"):
        python(code, tmp_path / "net.keras", tmp_path / "answer.npy", tmp_path / "images.npy")


def test_copy_by_config_repeats_bytes(exported: Path, tmp_path: Path) -> None:
    from tledge.models import classifier as models_classifier

    nets = [classifier(exported), classifier(exported)]
    for number, net in enumerate(nets):
        models_classifier.save(net, tmp_path / f"{number}.keras")
    assert (tmp_path / "0.keras").read_bytes() == (tmp_path / "1.keras").read_bytes()
    again = type(nets[0]).from_config(nets[0].get_config())
    again.set_weights(nets[0].get_weights())
    images = photos().astype(np.float32)
    assert np.array_equal(again(images).numpy(), nets[0](images).numpy())


CONFIG = """
import json, sys
from tledge.models import saved_model_layer as hub; from tledge._process import optional_imports as quiet
keras = quiet.load("keras", "export")
inputs = keras.Input((int(sys.argv[2]),) * 2 + (3,))
net = keras.Model(inputs, hub.build(sys.argv[1], inputs))
print(json.dumps(net.layers[-1].get_config()))
"""


@pytest.mark.parametrize("which", ["exported", "reusable"])
def test_config_is_the_same_in_another_process(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    here = json.dumps(features_of(folder).layers[-1].get_config())
    assert json.loads(python(CONFIG, folder, SIDE)) == json.loads(here)


@pytest.fixture(scope="session")
def saved(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A `.keras` file, and its answers to 32 photos."""
    from tledge.models import classifier as models_classifier

    net = classifier(exported)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    models_classifier.save(net, path)
    saved_model_layer.register()
    return path, net.predict(photos(32).astype(np.float32), verbose=0)


@pytest.mark.parametrize(
    ("variant", "limit"),
    [("saved_model", 1e-5), ("onnx-fp32", 1e-5), ("tflite-fp32", 1e-5), ("tflite-fp16", 5e-3),
     ("tflite-int8", 0.03), ("onnx-int8", 0.03)],
)  # fmt: skip
def test_converted_model_agrees(variant: str, limit: float, saved: tuple[Path, Any], tmp_path: Path) -> None:
    from tledge.formats.jobs import CalibratedJob, ConversionTarget, UncalibratedJob
    from tledge.formats.registry import VARIANTS

    one, (path, wanted) = VARIANTS[variant], saved
    np.save(tmp_path / "calibration.npy", photos(32))
    out = tmp_path / one.filename
    target = ConversionTarget(str(path), str(out), one.mode_name, "net", "1", "", ("a", "b", "c"))
    calibrated = CalibratedJob(target, str(tmp_path / "calibration.npy"), bias_correction=True)
    one.format.convert(calibrated if one.mode.calibrated else UncalibratedJob(target))
    found = one.format.open(out, "reference").run(photos(32))
    assert np.abs(found - wanted).max() < limit and wanted.std(axis=0).max() > 1e-4
    assert one.format.inspect(out).zeroed == ()


@pytest.mark.parametrize("which", ["exported", "reusable"])
def test_wrong_size_names_the_right_one(which: str, request: pytest.FixtureRequest) -> None:
    import keras

    with pytest.raises(RecipeError, match=rf"\(None, 32, 32, 3\).*float32\(None, {SIDE}, {SIDE}, 3\)"):
        saved_model_layer.build(str(request.getfixturevalue(which)), keras.Input((32, 32, 3)))


@pytest.mark.parametrize(("kind", "reason"), [("two", "2 outputs"), ("random", "RandomStandardNormal")])
def test_unfit_saved_model_is_explained(kind: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason):
        features_of(save_module(tmp_path / "net", kind=kind))


def test_saved_model_without_variables(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.__call__ = None
    spec = tf.TensorSpec((None, SIDE, SIDE, 3))
    mean = tf.function(lambda image: tf.reduce_mean(image, (1, 2)), input_signature=[spec])
    for name, reason in (("serve", "holds no variables"), ("other", r"signature named .* \['other'\]")):
        tf.saved_model.save(module, str(tmp_path / name), signatures={name: mean})
        with pytest.raises(RecipeError, match=reason):
            features_of(tmp_path / name)


@pytest.mark.parametrize("fault", ["no variables", "cut", "old"])
def test_damaged_saved_model_is_missing(fault: str, reusable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reusable, tmp_path / "net")
    if fault == "no variables":
        shutil.rmtree(folder / "variables")
    if fault == "cut":
        (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:200])
    if fault == "old":
        (folder / "tfhub_module.pb").touch()
    expected = RecipeError if fault == "old" else MissingError
    with pytest.raises(expected, match="TensorFlow 1" if fault == "old" else "variables/"):
        features_of(folder)


def test_other_backend_is_refused(reusable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RecipeError, match="KERAS_BACKEND=tensorflow"):
        features_of(reusable)


def test_layer_reads_no_files(reusable: Path, tmp_path: Path) -> None:
    """A `.keras` file of somebody else must not be able to do more than arithmetic."""
    import keras

    layer = features_of(reusable).layers[-1]
    graph = graph_of(layer)
    graph.node.add(name="secret", op="ReadFile", input=["path"])
    unsafe = type(layer).from_config({**layer.get_config(), "graph": saved_model_layer._as_text(graph)})
    with pytest.raises(RecipeError, match="ReadFile"):
        unsafe(keras.Input((SIDE, SIDE, 3)))
    with pytest.raises(RecipeError, match="ReadFile"):
        unsafe.build((None, SIDE, SIDE, 3))


def test_unsafe_file_does_not_load(reusable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    net = classifier(reusable)
    net.save(tmp_path / "net.keras")
    monkeypatch.setattr(
        saved_model_layer.graph_judgement, "refusal", lambda graph: "holds the operator ReadFile"
    )
    saved_model_layer._runner.cache_clear()
    with pytest.raises(RecipeError, match="ReadFile; it is refused"):
        keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
