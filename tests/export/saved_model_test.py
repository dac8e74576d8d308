import io
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import export
from simclr_keras import normalization
from simclr_keras import preprocessing
from simclr_keras.export import versions

FEATURES, CLASSES, PROJECTION, SIZE = 8, 7, 4, 40
# Stated by the contract; float32 sums in another order.
TOLERANCE = 1e-5


def small_encoder(image_size=None):
    """Convolution, our batch norm with statistics of its own, pooling."""
    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(FEATURES, 3, strides=2, use_bias=False)(inputs)
    norm = normalization.BatchNormalization()
    x = keras.layers.ReLU()(norm(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    generator = np.random.default_rng(1)
    norm.set_weights(generator.uniform(0.5, 2, (4, FEATURES)))
    return keras.Model(inputs, x)


def dense(units, name):
    inputs = keras.Input((FEATURES,))
    outputs = keras.layers.Dense(units, kernel_initializer="normal")(inputs)
    return keras.Model(inputs, outputs, name=name)


class Exported:
    """One exported model beside the Keras models it was made of."""

    def __init__(self, folder):
        keras.utils.set_random_seed(0)
        self.encoder = small_encoder()
        self.classifier = dense(CLASSES, "classifier")
        self.projection_head = dense(PROJECTION, "head")
        self.class_names = [f"class {i}" for i in range(CLASSES)]
        self.path = export.export_saved_model(
            self.encoder,
            folder / "1",
            image_size=SIZE,
            classifier=self.classifier,
            projection_head=self.projection_head,
            class_names=self.class_names,
            provenance={"dataset": {"name": "noise"}},
        )
        self.loaded = tf.saved_model.load(self.path)
        self.signatures = self.loaded.signatures

    def features(self, images):
        prepared = preprocessing.preprocess(images, SIZE)
        return self.encoder(prepared, training=False)

    def answers(self, images):
        features = self.features(images)
        logits = self.classifier(features).numpy().astype(np.float64)
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities = odds / odds.sum(-1, keepdims=True)
        order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :5]
        return {
            "embedding": features,
            "projection": self.projection_head(features),
            "probabilities": probabilities,
            "classes": order,
            "scores": np.take_along_axis(probabilities, order, -1),
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("saved_model"))


def pixels(count, height=50, width=61):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, height, width, 3), np.uint8)


def encoded(image, form="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def assert_close(actual, expected, names):
    assert set(actual) == set(names)
    for name in names:
        assert actual[name].dtype == (
            tf.int64 if name == "classes" else tf.float32
        )
        np.testing.assert_allclose(
            actual[name], expected[name], atol=TOLERANCE, err_msg=name
        )


CLASSIFIED = ("probabilities", "classes", "scores")


class TestSignatures:
    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("size", [(50, 61), (40, 40), (7, 90)])
    def test_tensors_equal_the_keras_model(self, exported, count, size):
        images = pixels(count, *size)
        floats = images.astype(np.float32) / np.float32(255)
        expected = exported.answers(images)
        for suffix, batch in (("", floats), ("_uint8", images)):
            batch = tf.constant(batch)
            assert_close(
                exported.signatures[f"embed{suffix}"](images=batch),
                expected,
                ("embedding", "projection"),
            )
            assert_close(
                exported.signatures[f"classify{suffix}"](images=batch),
                expected,
                CLASSIFIED,
            )

    @pytest.mark.parametrize("form", ["JPEG", "PNG"])
    def test_files_equal_evaluation(self, exported, form):
        contents = [encoded(image, form) for image in pixels(3)]
        images = tf.stack([preprocessing.decode(file) for file in contents])
        actual = exported.signatures["serving_default"](
            image_bytes=tf.constant(contents)
        )
        assert actual.pop("valid").numpy().tolist() == [True] * 3
        assert_close(
            actual, exported.answers(images), ("embedding", *CLASSIFIED)
        )

    def test_bad_files_give_rows_of_zeros(self, exported):
        good = encoded(pixels(1)[0])
        serve = exported.signatures["serving_default"]
        alone = serve(image_bytes=tf.constant([good]))
        answer = serve(image_bytes=tf.constant([b"", good, good[:300]]))
        assert answer.pop("valid").numpy().tolist() == [False, True, False]
        for name, value in answer.items():
            assert not np.any(value[0]) and not np.any(value[2])
            np.testing.assert_allclose(value[1], alone[name][0], atol=TOLERANCE)

    def test_empty_batches(self, exported):
        for name, function in exported.signatures.items():
            (spec,) = function.structured_input_signature[1].values()
            shape = [0, *(side or 30 for side in spec.shape[1:])]
            empty = tf.zeros(shape, spec.dtype)
            if spec.dtype == tf.string:
                empty = tf.constant([], tf.string)
            full = exported.answers(pixels(1))
            for key, value in function(**{spec.name: empty}).items():
                width = [] if key == "valid" else full[key].shape[1:]
                assert value.shape == (0, *width), name

    def test_floats_out_of_range_are_clipped(self, exported):
        # Images of one colour: elsewhere the kernel's overshoot is clipped,
        # too, and it grows with the range.
        shape = (2, SIZE, SIZE, 3)
        inside = np.ones(shape, np.float32) * [[[[0]]], [[[1]]]]
        outside = np.ones(shape, np.float32) * [[[[-9]]], [[[300]]]]
        embed = exported.signatures["embed"]
        np.testing.assert_allclose(
            embed(images=tf.constant(outside, tf.float32))["embedding"],
            embed(images=tf.constant(inside, tf.float32))["embedding"],
            atol=TOLERANCE,
        )


class TestExportSavedModel:
    def test_metadata(self, exported):
        metadata = json.loads((exported.path / "metadata.json").read_text())
        assert metadata["image_size"] == [SIZE, SIZE]
        assert metadata["crop_proportion"] == 0.875
        assert metadata["class_names"] == exported.class_names
        assert set(metadata["signatures"]) == set(exported.signatures)
        assert metadata["precision"] == "float32"
        assert metadata["provenance"] == {"dataset": {"name": "noise"}}
        assert metadata["versions"]["tensorflow"] == tf.__version__
        assert metadata["warmup_requests"] == len(exported.signatures)
        text = export.describe(exported.path)
        assert f"embedding float32 [B, {FEATURES}]" in text
        assert "images uint8 [B, h, w, 3]" in text

    def test_files(self, exported):
        names = {file.name for file in exported.path.iterdir()}
        assert {"README.md", "metadata.json", "assets.extra"} <= names
        assert (exported.path / versions.WARMUP).is_file()
        assert {file.name for file in exported.path.parent.iterdir()} == {
            "1",
            "models.config",
            "batching_parameters.txt",
        }
        text = (exported.path / "README.md").read_text()
        assert text.startswith("# Image encoder: noise")

    def test_batch_norm_is_folded(self, exported):
        embed = exported.signatures["embed"]
        names = [variable.name for variable in embed.variables]
        assert not [name for name in names if "moving" in name]

    def test_every_variable_is_stored_once(self, exported):
        stored = tf.train.list_variables(exported.path / "variables/variables")
        kept = [shape for name, shape in stored if "VARIABLE_VALUE" in name]
        heads = (exported.classifier, exported.projection_head)
        # The convolution's kernel and bias.
        assert len(kept) == 2 + sum(len(head.weights) for head in heads)

    def test_needs_only_tensorflow(self, exported, tmp_path):
        images = pixels(2)
        np.save(tmp_path / "images.npy", images)
        (tmp_path / "image.jpg").write_bytes(encoded(images[0]))
        program = textwrap.dedent("""
            import importlib.machinery
            import sys

            HIDDEN = ("keras", "simclr_keras")

            class Finder:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in HIDDEN:
                        return None
                    finder = importlib.machinery.PathFinder
                    return finder.find_spec(name, path, target)

            # Also editable installs have finders of their own.
            sys.meta_path[2:] = [Finder()]
            import numpy as np
            import tensorflow as tf

            model = tf.saved_model.load(sys.argv[1])
            images = tf.constant(np.load("images.npy"))
            result = model.signatures["embed_uint8"](images=images)
            result |= model.signatures["classify_uint8"](images=images)
            files = tf.constant([open("image.jpg", "rb").read(), b"bad"])
            served = model.signatures["serving_default"](image_bytes=files)
            result["served"] = served["embedding"]
            empty = model.signatures["embed_uint8"](images=images[:0])
            result["empty"] = empty["embedding"]
            np.savez("result.npz", **result)
            assert "keras" not in sys.modules
            assert "simclr_keras" not in sys.modules
        """)
        subprocess.run(
            [sys.executable, "-c", program, str(exported.path)],
            cwd=tmp_path,
            check=True,
            # Its convolutions fail on empty batches; off on some machines.
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
        )
        result = dict(np.load(tmp_path / "result.npz"))
        served = result.pop("served")
        assert result.pop("empty").shape == (0, FEATURES)
        for name, expected in exported.answers(images).items():
            np.testing.assert_allclose(
                result[name], expected, atol=TOLERANCE, err_msg=name
            )
        decoded = preprocessing.decode(encoded(images[0]))[None]
        np.testing.assert_allclose(
            served[:1], exported.features(decoded), atol=TOLERANCE
        )
        assert not np.any(served[1])

    def test_without_heads_in_float32(self, tmp_path):
        keras.config.set_dtype_policy("mixed_bfloat16")
        encoder = small_encoder()
        path = export.export_saved_model(
            encoder, tmp_path / "1", image_size=(20, 30)
        )
        signatures = tf.saved_model.load(path).signatures
        assert set(signatures) == {"serving_default", "embed", "embed_uint8"}
        keys = signatures["serving_default"].structured_outputs
        assert set(keys) == {"embedding", "valid"}
        images = tf.constant(pixels(2))
        actual = signatures["embed_uint8"](images=images)
        plain = normalization.plain_batch_norm(encoder, dtype="float32")
        expected = plain(preprocessing.preprocess(images, (20, 30)))
        assert_close(actual, {"embedding": expected}, ["embedding"])
        assert encoder.layers[-1].compute_dtype == "bfloat16"

    def test_bfloat16(self, tmp_path):
        encoder, head = small_encoder(), dense(PROJECTION, "head")
        path = export.export_saved_model(
            encoder,
            tmp_path / "1",
            image_size=SIZE,
            projection_head=head,
            serving_precision="bfloat16",
        )
        loaded = tf.saved_model.load(path)
        embed = loaded.signatures["embed"]
        kernels = [v for v in embed.variables if v.shape.rank == 4]
        assert [kernel.dtype for kernel in kernels] == [tf.bfloat16]
        images = np.random.default_rng(0).random((2, SIZE, SIZE, 3))
        answer = embed(images=tf.constant(images, tf.float32))
        features = encoder(preprocessing.preprocess(images, SIZE))
        assert {value.dtype for value in answer.values()} == {tf.float32}
        # Eight bits of mantissa.
        scale = np.max(features)
        np.testing.assert_allclose(
            answer["embedding"], features, atol=0.01 * scale
        )
        assert not np.allclose(answer["embedding"], features, atol=1e-5 * scale)

    def test_never_breaks_what_is_served(self, exported):
        encoder = keras.Sequential([keras.Input((SIZE, SIZE, 3))])
        encoder.add(keras.layers.GlobalAveragePooling2D())
        with pytest.raises(ValueError, match="must not break the model"):
            export.export_saved_model(
                encoder, exported.path.with_name("2"), image_size=SIZE
            )
        assert not exported.path.with_name("2").exists()

    def test_never_overwrites(self, exported):
        before = sorted(exported.path.rglob("*"))
        times = [file.stat().st_mtime_ns for file in before]
        following = exported.path.with_name("2")
        with pytest.raises(ValueError, match=f"next free one is {following}"):
            export.export_saved_model(
                exported.encoder, exported.path, image_size=SIZE
            )
        assert sorted(exported.path.rglob("*")) == before
        assert [file.stat().st_mtime_ns for file in before] == times

    def test_nothing_is_left_when_parts_do_not_fit(self, tmp_path):
        inputs = keras.Input((None, None, 3))
        flat = small_encoder()
        cases = {
            "`image_size` must be what": (
                {"encoder": small_encoder(32), "image_size": 20}
            ),
            "`encoder` must return one": (
                {"encoder": keras.Model(inputs, inputs), "image_size": 20}
            ),
            "`class_names` must have": (
                {"encoder": flat, "image_size": 20, "class_names": ["a"]}
            ),
            "`image_size` must be at least": (
                {"encoder": flat, "image_size": 0}
            ),
        }
        for message, arguments in cases.items():
            with pytest.raises(ValueError, match=message):
                export.export_saved_model(path=tmp_path / "1", **arguments)
        assert list(tmp_path.iterdir()) == []
