"""The fused batch norm is Keras' batch norm, in every way but speed."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.normalization import BatchNormalization
from simclr_keras.normalization import fused_batch_norm
from simclr_keras.normalization import hold_moving_statistics
from simclr_keras.normalization import plain_batch_norm
from tests import golden
from tests import replicas

SHAPES = [(6, 5, 4, 3), (3, 2, 2, 16), (16, 8), (4, 7, 3)]
POLICIES = ["float32", "mixed_bfloat16", "mixed_float16"]
# Rounding of the results to the compute dtype; float32 also sums in another
# order.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 1e-2, "mixed_float16": 2e-3}
MODES = {
    "eager": lambda step: step,
    "graph": tf.function,
    "xla": lambda step: tf.function(step, jit_compile=True),
}


def normal(shape, seed, dtype=tf.float32):
    x = tf.random.stateless_normal(shape, seed=[seed, 0])
    return tf.cast(1.5 * x + 0.5, dtype)


def pair(shape, **arguments):
    """Keras' layer and ours, with the same weights that nothing shares."""
    stock = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, **arguments
    )
    ours = BatchNormalization(**arguments)
    for layer in (stock, ours):
        layer.build(shape)
    for i, (a, b) in enumerate(
        zip(stock.weights, ours.weights, strict=True), start=1
    ):
        value = 1.0 + 0.1 * tf.abs(normal(a.shape, seed=i))
        a.assign(value)
        b.assign(value)
    return stock, ours


def results(layer, x, dy, wrap=MODES["eager"], training=True):
    """Outputs, gradients by x and weights, then the moving statistics."""

    def step():
        weights = [w.value for w in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        return y, *tape.gradient(y, [x, *weights], dy)

    values = wrap(step)()
    return [*values, layer.moving_mean.value, layer.moving_variance.value]


def assert_same(ours, expected, tolerance):
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == b.dtype
        a, b = (tf.cast(v, tf.float32).numpy() for v in (a, b))
        assert golden.relative_to_max(a, b) < tolerance


class TestAgainstKeras:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_training(self, shape, policy, mode):
        stock, ours = pair(shape, dtype=policy)
        x, dy = (normal(shape, seed, ours.compute_dtype) for seed in (1, 2))
        expected = results(stock, x, dy)
        actual = results(ours, x, dy, MODES[mode])
        assert_same(actual, expected, TOLERANCE[policy])
        # The statistics never leave float32.
        assert_same(actual[-2:], expected[-2:], 1e-5)

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_inference(self, shape, policy):
        stock, ours = pair(shape, dtype=policy)
        x, dy = (normal(shape, seed, ours.compute_dtype) for seed in (1, 2))
        for mode in MODES.values():
            assert_same(
                results(ours, x, dy, mode, training=False),
                results(stock, x, dy, training=False),
                TOLERANCE[policy],
            )

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        "arguments", [{"center": False}, {"scale": False}, {"momentum": 0.5}]
    )
    def test_options(self, arguments, training):
        arguments = {"momentum": 0.9, "epsilon": 1e-5} | arguments
        shape = SHAPES[0]
        layers = [
            keras.layers.BatchNormalization(**arguments),
            BatchNormalization(**arguments),
        ]
        x, dy = normal(shape, 1), normal(shape, 2)
        for layer in layers:
            layer.build(shape)
        stock, ours = (
            results(layer, x, dy, training=training) for layer in layers
        )
        assert_same(ours, stock, 1e-5)

    def test_unknown_batch_size(self):
        stock, ours = pair(SHAPES[0])
        x, dy = normal(SHAPES[0], 1), normal(SHAPES[0], 2)
        unknown = tf.TensorSpec([None, None, None, SHAPES[0][-1]])

        @tf.function(input_signature=[unknown])
        def train(x):
            ours(x, training=True)

        train(x)
        expected = results(stock, x, dy)[-2:]
        assert_same(
            [ours.moving_mean.value, ours.moving_variance.value], expected, 1e-5
        )

    def test_frozen_layer_keeps_its_statistics(self):
        stock, ours = pair(SHAPES[0])
        stock.trainable = ours.trainable = False
        before = ours.moving_mean.numpy()
        x, dy = normal(SHAPES[0], 1), normal(SHAPES[0], 2)
        assert_same(results(ours, x, dy), results(stock, x, dy), 1e-5)
        np.testing.assert_array_equal(ours.moving_mean.numpy(), before)


class TestOracle:
    def test_values_and_biased_moving_variance(self):
        layer = BatchNormalization()
        x = normal((6, 5, 4, 3), 1)
        y = layer(x, training=True)
        x = x.numpy().astype(np.float64)
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        np.testing.assert_allclose(
            y, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5
        )
        np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
        np.testing.assert_allclose(
            layer.moving_variance, 0.9 + 0.1 * variance, rtol=1e-5
        )

    def test_one_value_per_channel(self):
        layer = BatchNormalization()
        y = layer(tf.constant([[3.0, -2.0]]), training=True)
        np.testing.assert_array_equal(y, [[0.0, 0.0]])
        np.testing.assert_allclose(layer.moving_variance, [0.9, 0.9])

    def test_large_mean_does_not_swallow_the_variance(self):
        layer = BatchNormalization()
        x = 1000.0 + tf.constant([[-1.0], [1.0]] * 8)
        np.testing.assert_allclose(
            layer(x, training=True), x - 1000.0, atol=1e-3
        )


class TestReplicas:
    def run(self, synchronized):
        """Two replicas' outputs and input gradients, joined, and the layer."""
        strategy = replicas.mirrored()
        shape = (8, 3, 3, 5)
        x, dy = normal(shape, 1), normal(shape, 2)
        with strategy.scope():
            layer = BatchNormalization(synchronized=synchronized)
            layer.build(shape)

        @tf.function
        def step(x, dy):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return y, tape.gradient(y, x, dy)

        def shares(tensor):
            return strategy.experimental_distribute_values_from_function(
                lambda context: tf.split(tensor, 2)[
                    context.replica_id_in_sync_group
                ]
            )

        y, dx = (
            tf.concat(strategy.experimental_local_results(value), axis=0)
            for value in strategy.run(step, args=(shares(x), shares(dy)))
        )
        return (y, dx), layer, (x, dy)

    def test_synchronized_equals_one_replica(self):
        values, layer, (x, dy) = self.run(synchronized=True)
        one = BatchNormalization()
        one.build(x.shape)
        y, dx, _, _, mean, variance = results(one, x, dy)
        assert_same(values, (y, dx), 1e-5)
        np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-6)
        np.testing.assert_allclose(layer.moving_variance, variance, atol=1e-6)

    def test_unsynchronized_normalises_each_share_by_itself(self):
        (y, _), _, (x, _) = self.run(synchronized=False)
        halves = [
            BatchNormalization()(half, training=True) for half in tf.split(x, 2)
        ]
        assert_same([y], [tf.concat(halves, axis=0)], 1e-5)


class TestHoldMovingStatistics:
    def test_changes_nothing_else(self):
        _, held = pair(SHAPES[0])
        _, moved = pair(SHAPES[0])
        before = held.moving_mean.numpy(), held.moving_variance.numpy()
        x, dy = normal(SHAPES[0], 1), normal(SHAPES[0], 2)
        with hold_moving_statistics():
            ours = results(held, x, dy, tf.function)
        expected = results(moved, x, dy)
        assert_same(ours[:-2], expected[:-2], 1e-6)
        np.testing.assert_array_equal(held.moving_mean.numpy(), before[0])
        np.testing.assert_array_equal(held.moving_variance.numpy(), before[1])

    def test_ends_with_its_block(self):
        _, layer = pair(SHAPES[0])
        with hold_moving_statistics():
            pass
        before = layer.moving_mean.numpy()
        layer(normal(SHAPES[0], 1), training=True)
        assert np.all(layer.moving_mean.numpy() != before)


class TestConfig:
    def test_round_trip(self):
        layer = BatchNormalization(0.5, 1e-3, synchronized=False, center=False)
        copy = keras.layers.deserialize(keras.layers.serialize(layer))
        assert isinstance(copy, BatchNormalization)
        assert copy.get_config() == layer.get_config()

    @pytest.mark.parametrize("arguments", [{"axis": 1}, {"renorm": True}])
    def test_refuses(self, arguments):
        message = "`axis` must be -1 and `renorm` must be False. Received: axis"
        with pytest.raises(ValueError, match=re.escape(message)):
            BatchNormalization(**arguments)

    def test_refuses_masks(self):
        layer = BatchNormalization()
        layer.build((2, 3))
        with pytest.raises(ValueError, match="`mask` must be None"):
            layer(tf.ones([2, 3]), mask=tf.constant([True, False]))


def nested_model():
    inputs = keras.Input((4, 4, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = BatchNormalization(name="bn")(x)
    inner = keras.Model(inputs, keras.layers.Flatten()(x), name="inner")
    inputs = keras.Input((4, 4, 3), name="images")
    dense = keras.Sequential(
        [keras.layers.Dense(3), BatchNormalization(name="bn2", scale=False)],
        name="dense",
    )
    outputs = keras.layers.ReLU()(dense(inner(inputs)))
    model = keras.Model(inputs, outputs, name="outer")
    model(normal((8, 4, 4, 3), 1), training=True)
    return model


def norms(model):
    """Batch norms of the model and of the models inside it."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


class TestPlainBatchNorm:
    def test_keeps_everything_but_the_class(self):
        model = nested_model()
        plain = plain_batch_norm(model)
        assert [type(layer) for layer in norms(plain)] == [
            keras.layers.BatchNormalization
        ] * 2
        assert not any(layer.synchronized for layer in norms(plain))
        assert [w.path for w in plain.weights] == [
            w.path for w in model.weights
        ]
        assert (plain.name, plain.layers[1].name) == ("outer", "inner")
        x = normal((8, 4, 4, 3), 2)
        assert_same([plain(x)], [model(x)], 1e-5)
        assert_same([plain(x, training=True)], [model(x, training=True)], 1e-5)
        assert_same(plain.weights, model.weights, 1e-5)

    def test_shares_no_weights(self):
        model = nested_model()
        before = model.get_weights()
        plain = plain_batch_norm(model)
        plain.set_weights([0 * w for w in before])
        for a, b in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_dtype_is_given_to_every_layer(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        plain = plain_batch_norm(nested_model(), dtype="float32")
        assert plain(normal((8, 4, 4, 3), 2)).dtype == tf.float32
        policies = {layer.dtype_policy.name for layer in norms(plain)}
        assert policies == {"float32"}
        kept = plain_batch_norm(nested_model())
        assert kept(normal((8, 4, 4, 3), 2)).dtype == tf.bfloat16

    def test_fused_is_the_inverse(self):
        model = nested_model()
        fused = fused_batch_norm(plain_batch_norm(model))
        assert [type(layer) for layer in norms(fused)] == [
            BatchNormalization
        ] * 2
        assert fused.get_config() == model.get_config()
        assert_same(fused.weights, model.weights, 1e-7)

    def test_refuses_subclassed_models(self):
        class Subclassed(keras.Model):
            pass

        for refused in (Subclassed(), keras.Sequential()):
            with pytest.raises(
                ValueError, match="`model` must be a functional"
            ):
                plain_batch_norm(refused)
