"""Micro-batches change the memory of a step, not its result."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import augment_layers
from simclr_keras import normalization
from simclr_keras.simclr import SimCLR
from tests import replicas

B, M, SIZE, CLASSES = 12, 4, 8, 3


def encoder_of(normalized):
    inputs = keras.Input([SIZE, SIZE, 3])
    x = keras.layers.Conv2D(6, 3, name="conv1")(inputs)
    if normalized:
        x = normalization.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(5, 3, strides=2, name="conv2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x)


def head_of(normalized):
    if normalized:
        return simclr_keras.projection_head(features=5, layers=2, out_dim=4)
    h = keras.Input([5])
    hidden = keras.layers.Dense(7, "relu", name="projection1_relu")(h)
    return keras.Model(h, keras.layers.Dense(4)(hidden))


def model(normalized=False, optimizer=None, augmenter=None, **arguments):
    keras.utils.set_random_seed(1)
    made = SimCLR(
        encoder_of(normalized),
        head_of(normalized),
        augmenter,
        num_classes=CLASSES,
        **arguments,
    )
    made.compile(optimizer or keras.optimizers.SGD(0.1), jit_compile=False)
    return made


def batches(count):
    """Pairs of finished views, some without a label."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        pairs = rng.random([B, 2, SIZE, SIZE, 3]).astype(np.float32)
        yield pairs, rng.integers(-1, CLASSES, B)


def trained(made, steps=3):
    """Logs of each step."""
    return [
        made.train_on_batch(images, labels, return_dict=True)
        for images, labels in batches(steps)
    ]


def assert_alike(found, expected, rtol=1e-5):
    for a, b in zip(found, expected, strict=True):
        scale = np.abs(b).max() + 1e-6
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale)


def assert_equal_training(made, other):
    logs, others = trained(made), trained(other)
    for log, expected in zip(logs, others, strict=True):
        assert log.keys() == expected.keys()
        # Of views about as near as each other, rounding may choose.
        accuracies = [x.pop("contrastive_accuracy") for x in (log, expected)]
        np.testing.assert_allclose(*accuracies, rtol=0, atol=1.01 / B)
        assert_alike(log.values(), expected.values())
    assert_alike(made.get_weights(), other.get_weights())
    # Sums of gradients that nearly cancel each other.
    slots = [[v.numpy() for v in m.optimizer.variables] for m in (made, other)]
    assert_alike(*slots, rtol=1e-3)


class Solarize(augment_layers.RandomSolarize):
    """An augmenter that compiles at once, unlike SimCLR's."""

    def call(self, inputs, seed, first_row, num_rows, cropped):
        return super().call(inputs, seed, first_row, num_rows)


class TestWithoutBatchNorm:
    """The encoder has none: the step is the plain one."""

    @pytest.mark.parametrize("size", [1, 4, 12])
    def test_any_size(self, size):
        assert_equal_training(model(micro_batch_size=size), model())

    @pytest.mark.parametrize(
        "optimizer",
        [
            lambda: simclr_keras.LARS(0.1, weight_decay=1e-3),
            lambda: keras.optimizers.SGD(0.1, momentum=0.9),
            # Its first steps have the sign of the gradient, however small.
            lambda: keras.optimizers.AdamW(0.01, epsilon=1e-2),
        ],
    )
    def test_any_optimizer(self, optimizer):
        assert_equal_training(
            model(optimizer=optimizer(), micro_batch_size=M),
            model(optimizer=optimizer()),
        )

    def test_probe_on_a_hidden_layer(self):
        assert_equal_training(
            model(ft_proj_selector=1, micro_batch_size=M),
            model(ft_proj_selector=1),
        )

    def test_augmented_in_the_step(self):
        layer = Solarize(0.5)
        images = np.random.default_rng(0).integers(0, 256, [B, SIZE, SIZE, 3])

        def weights(jit_compile, **arguments):
            made = model(augmenter=layer, **arguments)
            made.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
            made.train_on_batch(images.astype(np.uint8), np.zeros(B))
            return made.get_weights()

        expected = weights(False)
        for jit_compile in (False, True):
            assert_alike(weights(jit_compile, micro_batch_size=M), expected)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_low_precision(self, policy):
        keras.config.set_dtype_policy(policy)

        def scaled(**arguments):
            optimizer = keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1), initial_scale=128.0
            )
            return model(optimizer=optimizer, **arguments)

        cached, plain = scaled(micro_batch_size=M), scaled()
        before = plain.get_weights()
        logs, expected = trained(cached, 1)[0], trained(plain, 1)[0]
        assert abs(logs["loss"] - expected["loss"]) < 2e-2
        update, error = (
            np.concatenate([(a - b).ravel() for a, b in pairs])
            for pairs in (
                zip(plain.get_weights(), before, strict=True),
                zip(cached.get_weights(), plain.get_weights(), strict=True),
            )
        )
        assert np.linalg.norm(error) < 0.05 * np.linalg.norm(update)

    def test_two_replicas(self):
        with replicas.mirrored().scope():
            cached = model(micro_batch_size=3)
        plain = model()
        dataset = tf.data.Dataset.from_tensor_slices(next(batches(1)))
        dataset = dataset.batch(B, drop_remainder=True).repeat(3)
        for made in (cached, plain):
            made.fit(dataset, verbose=0, shuffle=False)
        assert_alike(
            cached.get_weights(),
            plain.get_weights(),
        )


class InParts(keras.Model):
    """An encoder that runs the micro-batches of M images one by one."""

    def __init__(self, encoder):
        super().__init__()
        self.inner = encoder
        self.outputs = encoder.outputs
        self.built = True

    @property
    def output_shape(self):
        return self.inner.output_shape

    def call(self, views, training=False):
        rows = tf.reshape(views, [2, B // M, M, SIZE, SIZE, 3])
        h = [
            self.inner(
                tf.reshape(rows[:, part], [2 * M, SIZE, SIZE, 3]),
                training=training,
            )
            for part in range(B // M)
        ]
        h = tf.reshape(tf.stack(h), [B // M, 2, M, -1])
        return tf.reshape(tf.transpose(h, [1, 0, 2, 3]), [2 * B, h.shape[-1]])


def test_with_batch_norm_it_is_the_plain_step_over_the_same_micro_batches():
    cached = model(normalized=True, micro_batch_size=M)
    plain = model(normalized=True)
    plain.encoder = InParts(plain.encoder)
    logs, others = trained(cached), trained(plain)
    for log, expected in zip(logs, others, strict=True):
        assert_alike(log.values(), expected.values())
    # The moving statistics, too, have seen each micro-batch once.
    inner = plain.encoder.inner
    assert_alike(
        [w.numpy() for w in cached.encoder.weights],
        [w.numpy() for w in inner.weights],
    )
    assert_alike(
        [w.numpy() for w in cached.projection_head.weights],
        [w.numpy() for w in plain.projection_head.weights],
    )


def test_accumulating_losses_of_micro_batches_would_be_another_gradient():
    """What the step is there to avoid."""
    images, labels = next(batches(1))
    plain, cached = model(), model(micro_batch_size=M)
    parts = [
        plain.train_on_batch(images[i : i + M], labels[i : i + M])[0]
        for i in range(0, B, M)
    ]
    whole = cached.train_on_batch(images, labels)[0]
    assert abs(np.mean(parts) - whole) > 0.3


class TestMistakes:
    def test_size_below_one(self):
        with pytest.raises(ValueError, match="`micro_batch_size` must be at"):
            model(micro_batch_size=0)

    def test_size_that_does_not_divide(self):
        with pytest.raises(ValueError, match="must divide the batch of each"):
            trained(model(micro_batch_size=5), steps=1)

    def test_random_layers(self):
        inputs = keras.Input([SIZE, SIZE, 3])
        x = keras.layers.GlobalAveragePooling2D()(inputs)
        x = keras.layers.Dropout(0.5, name="drop")(x)
        with pytest.raises(ValueError, match="layer drop, a Dropout"):
            SimCLR(
                keras.Model(inputs, x),
                simclr_keras.projection_head(features=3, layers=1, out_dim=2),
                micro_batch_size=4,
            )
