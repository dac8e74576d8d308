import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import preprocessing
from simclr_keras.export import signatures

FEATURES, SIZE = 6, 12


def encoder():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(FEATURES, 3, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def dense(units):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, keras.layers.Dense(units)(inputs))


def network(classes=None, projection=None):
    return signatures.Network(
        encoder(),
        classes and dense(classes),
        projection and dense(projection),
        (SIZE, SIZE),
    )


def images(count=3):
    generator = np.random.default_rng(0)
    shape = (count, SIZE, SIZE, 3)
    return tf.constant(generator.uniform(size=shape), tf.float32)


class TestNetwork:
    @pytest.mark.parametrize("classes", [1, 2, 5, 9])
    def test_at_most_five_classes(self, classes):
        net = network(classes)
        answer = net.classes(net.features(images()))
        k = min(5, classes)
        assert answer["classes"].shape == answer["scores"].shape == (3, k)
        assert answer["classes"].dtype == tf.int64
        np.testing.assert_allclose(
            answer["scores"],
            np.sort(answer["probabilities"])[:, ::-1][:, :k],
        )
        np.testing.assert_allclose(
            tf.reduce_sum(answer["probabilities"], 1), np.ones(3), rtol=1e-6
        )

    def test_heads_are_optional(self):
        net = network()
        features = net.features(images())
        assert net.classes(features) == net.projection(features) == {}

    def test_outputs_are_float32_under_mixed_precision(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        net = network(classes=3, projection=4)
        assert net.encoder(images()).dtype == tf.bfloat16
        features = net.features(images())
        outputs = [features, net.projection(features)["projection"]]
        outputs += [
            net.classes(features)[n] for n in ("probabilities", "scores")
        ]
        assert [x.dtype for x in outputs] == [tf.float32] * 4


class TestSignatures:
    def test_names(self):
        without = {"serving_default", "embed", "embed_uint8"}
        assert set(signatures.signatures(network())) == without
        assert set(signatures.signatures(network(classes=3))) == {
            *without,
            "classify",
            "classify_uint8",
        }

    @pytest.mark.parametrize(
        "name,outputs",
        [
            ("embed", {"embedding", "projection"}),
            ("classify", {"probabilities", "classes", "scores"}),
        ],
    )
    def test_preprocesses(self, name, outputs):
        net = network(classes=3, projection=4)
        function = signatures.signatures(net)[name]
        wide = tf.image.resize(images(), (17, 23))
        prepared = preprocessing.preprocess(wide, SIZE)
        actual, expected = function(wide), function(prepared)
        assert set(actual) == outputs
        for key in outputs:
            np.testing.assert_allclose(
                actual[key], expected[key], rtol=1e-5, atol=1e-6
            )
