"""Encoder files: whole, plain Keras, and refused with a reason."""

import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.checkpoints import load_encoder
from simclr_keras.checkpoints import save_encoder
from simclr_keras.normalization import BatchNormalization
from simclr_keras.resnet import resnet

# Keras reads weights through an old spelling of numpy's protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

# Runs where this package cannot be imported, as on a user's other machine.
PLAIN_KERAS = """
import sys
sys.modules["simclr_keras"] = None
import keras
import numpy as np
images = np.load("images.npy")
for name in sys.argv[1:]:
    encoder = keras.models.load_model(name + ".keras")
    np.save(name + ".npy", encoder(images))
model = keras.Sequential([encoder, keras.layers.Dense(2)])
model.compile("sgd", "mse", run_eagerly=True)
model.fit(images, np.zeros((len(images), 2)), verbose=0)
"""


def trained(end="embedding", **arguments):
    """A small encoder whose weights and statistics have all moved."""
    encoder = resnet(
        width=1 / 16, stem="cifar", image_size=8, seed=1, **arguments
    )
    encoder = keras.Model(
        encoder.input, encoder.get_layer(end).output, name="small"
    )
    images = tf.random.stateless_uniform([16, 8, 8, 3], seed=[1, 2])
    encoder(images, training=True)
    for i, variable in enumerate(encoder.trainable_variables):
        noise = tf.random.stateless_normal(variable.shape, seed=[i, 3])
        variable.assign_add(0.05 * noise)
    return encoder, images


@pytest.fixture(scope="module")
def simple():
    """An encoder that no test changes, and its images."""
    return trained(depth=18)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "encoder.keras"


class TestSaveEncoder:
    def test_loads_and_trains_with_keras_alone(self, simple, tmp_path):
        expected = {}
        selective = {"depth": 50, "sk_ratio": 0.5, "se_ratio": 0.5}
        for name, encoder_and_images in (
            ("selective", trained("group2_block1_relu", **selective)),
            ("simple", simple),
        ):
            encoder, images = encoder_and_images
            save_encoder(encoder, tmp_path / f"{name}.keras")
            expected[name] = encoder(images)
        np.save(tmp_path / "images.npy", images)
        subprocess.run(
            [sys.executable, "-c", PLAIN_KERAS, *expected],
            check=True,
            cwd=tmp_path,
        )
        for name, h in expected.items():
            np.testing.assert_allclose(
                np.load(tmp_path / f"{name}.npy"), h, rtol=1e-4, atol=1e-5
            )

    def test_takes_the_encoder_out_of_a_model(self, simple, path):
        encoder, images = simple
        save_encoder(types.SimpleNamespace(encoder=encoder), path)
        loaded = keras.models.load_model(path)
        np.testing.assert_allclose(loaded(images), encoder(images), atol=1e-5)

    def test_file_computes_in_float32(self, path):
        keras.config.set_dtype_policy("mixed_bfloat16")
        encoder, _ = trained(depth=18)
        save_encoder(encoder, path)
        loaded = keras.models.load_model(path)
        policies = {layer.dtype_policy.name for layer in loaded.layers[1:]}
        assert policies == {"float32"}

    def test_frozen_encoder_loads_trainable(self, path):
        encoder, _ = trained(depth=18)
        count = len(encoder.trainable_variables)
        encoder.trainable = False
        save_encoder(encoder, path)
        assert not encoder.trainable_variables
        loaded = keras.models.load_model(path)
        assert len(loaded.trainable_variables) == count

    def test_keeps_names_and_input_size(self, simple, path):
        encoder, _ = simple
        save_encoder(encoder, path)
        loaded = keras.models.load_model(path)
        assert loaded.name == encoder.name
        assert loaded.input_shape == encoder.input_shape
        assert [layer.name for layer in loaded.layers] == [
            layer.name for layer in encoder.layers
        ]

    def test_writes_under_another_name_in_the_same_folder(
        self, simple, path, monkeypatch
    ):
        written = []
        save = keras.Model.save

        def recorded(model, target):
            written.append(target)
            save(model, target)

        monkeypatch.setattr(keras.Model, "save", recorded)
        save_encoder(simple[0], path)
        assert [target.parent for target in written] == [path.parent]
        assert path not in written
        assert list(path.parent.iterdir()) == [path]

    def test_failure_leaves_the_old_file_alone(self, simple, path, monkeypatch):
        path.parent.mkdir()
        path.write_text("old")

        def half_written(model, target):
            target.write_text("half")
            raise OSError("disk full")

        monkeypatch.setattr(keras.Model, "save", half_written)
        with pytest.raises(OSError, match="disk full"):
            save_encoder(simple[0], path)
        assert path.read_text() == "old"
        assert list(path.parent.iterdir()) == [path]

    def test_refuses_another_ending(self, simple, tmp_path):
        with pytest.raises(ValueError, match="`path` must end in .keras"):
            save_encoder(simple[0], tmp_path / "encoder.h5")


class TestLoadEncoder:
    def test_is_what_was_saved_with_fused_batch_norm(self, simple, path):
        encoder, images = simple
        save_encoder(encoder, path)
        loaded = load_encoder(str(path))
        assert isinstance(loaded.get_layer("stem_bn"), BatchNormalization)
        assert loaded.get_config() == encoder.get_config()
        for a, b in zip(loaded.weights, encoder.weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())

    def test_says_what_is_wrong(self, simple, tmp_path):
        encoder, _ = simple
        weights = tmp_path / "encoder.weights.h5"
        encoder.save_weights(weights)
        saved_model = tmp_path / "saved_model" / "1"
        saved_model.mkdir(parents=True)
        (saved_model / "saved_model.pb").touch()
        save_encoder(encoder, tmp_path / "run" / "encoder.keras")
        damaged = tmp_path / "damaged.keras"
        damaged.write_bytes(b"PK not a zip")
        for path, reason in (
            (tmp_path / "missing.keras", "which does not exist"),
            (tmp_path / "run", "a folder with encoder.keras in it"),
            (tmp_path, "a folder with damaged.keras in it"),
            (tmp_path / "saved_model", "a folder without any"),
            (saved_model, "a TensorFlow SavedModel"),
            (weights, "which holds weights only"),
            (damaged, "not a Keras 3 archive, or is damaged"),
        ):
            with pytest.raises(ValueError, match="`path` must be a") as info:
                load_encoder(path)
            assert reason in str(info.value)
            assert f"path={path}" in str(info.value)
