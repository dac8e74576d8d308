"""What SimCLR refuses, and in which words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import checks
from simclr_keras import heads


def model(*outputs):
    """From images to outputs of these shapes."""
    inputs = keras.Input([8, 8, 3])
    flat = keras.layers.Flatten()(inputs)
    made = [
        keras.layers.Reshape(shape)(
            keras.layers.Dense(int(np.prod(shape)))(flat)
        )
        for shape in outputs
    ]
    return keras.Model(inputs, made[0] if len(made) == 1 else made)


class TestModels:
    head = heads.projection_head(features=6, layers=1, out_dim=2)

    def check(self, encoder):
        checks.models(encoder, self.head, None, 0.1)

    def test_flat_output(self):
        self.check(model([6]))
        self.check(keras.Sequential([keras.Input([6]), keras.layers.ReLU()]))

    @pytest.mark.parametrize(
        ("encoder", "received"),
        [
            (model([2, 2, 6]), r"\(None, 2, 2, 6\)"),
            (model([6], [6]), r"\(None, 6\), \(None, 6\)"),
            (keras.Sequential([keras.layers.Dense(6)]), "not known"),
            (keras.Model(), "not known"),
            ("resnet18", "resnet18"),
        ],
    )
    def test_anything_else(self, encoder, received):
        with pytest.raises(ValueError, match="one flat output") as info:
            self.check(encoder)
        assert info.match(received)


@pytest.mark.parametrize(
    "arguments", [{"loss": "mse"}, {"metrics": ["accuracy"]}]
)
def test_compile_takes_no_loss_and_no_metrics(arguments):
    with pytest.raises(ValueError, match="SimCLR has its loss"):
        checks.compiled_with({"jit_compile": False, **arguments})
    checks.compiled_with({"loss": None, "jit_compile": False})


class TestUnpacked:
    images = tf.zeros([4, 8, 8, 3])

    @pytest.mark.parametrize(
        ("data", "received"),
        [
            (tf.zeros([8, 8, 3]), r"\(8, 8, 3\)"),
            ({"label": 1, "image": images}, "a dict of image, label"),
            (((images, images), None), "a tuple"),
        ],
    )
    def test_no_batch_of_images(self, data, received):
        with pytest.raises(ValueError, match="takes batches") as info:
            checks.unpacked(data)
        assert info.match(received)

    def test_labels(self):
        for labels in (tf.constant([0, 1, 2, -1]), [[0.0], [1], [2], [-1]]):
            data = self.images, tf.convert_to_tensor(labels)
            images, labels = checks.unpacked(data, labels_needed=True)
            assert images is self.images
            assert labels.dtype == tf.int32
            np.testing.assert_array_equal(labels, [0, 1, 2, -1])

    def test_no_labels(self):
        assert checks.unpacked(self.images) == (self.images, None)
        with pytest.raises(ValueError, match="needs labels"):
            checks.unpacked(self.images, labels_needed=True)


class TestInRange:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_floats_of_0_to_255(self, dtype):
        images = tf.constant([[0.0, 1.0]], dtype)
        checked = tf.function(checks.in_range)
        np.testing.assert_array_equal(checked(images), images)
        with pytest.raises(tf.errors.InvalidArgumentError) as info:
            checked(images * 255)
        assert info.match("divide them by 255")

    def test_overshoot_and_uint8_pass(self):
        for images in (np.float32([-0.2, 1.2]), np.uint8([0, 255])):
            np.testing.assert_array_equal(checks.in_range(images), images)
