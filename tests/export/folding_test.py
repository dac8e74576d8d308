import keras
import numpy as np
import pytest
from keras import layers

import simclr_keras
from simclr_keras import normalization
from simclr_keras.export import folding

# float32 sums of scaled products, through at most 20 layers.
TOLERANCE = 2e-5


def randomized(model):
    """With statistics, scales and biases unlike their initial values."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if getattr(layer, "inputs", None) is not None:
            randomized(layer)
        elif isinstance(layer, layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights([generator.uniform(0.5, 2, s) for s in shapes])
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


def images(size=16, count=2, channels=3):
    generator = np.random.default_rng(1)
    return generator.random((count, size, size, channels), np.float32)


def norms(model):
    return [
        layer.name
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    ]


def assert_same(model, x):
    """Answers the folded copy, whose features are those of `model`."""
    weights = model.get_weights()
    copy = folding.folded(model)
    expected = model(x, training=False)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(
        copy(x, training=False), expected, atol=TOLERANCE * scale
    )
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    return copy


class TestResnets:
    @pytest.mark.parametrize(
        "options",
        [
            {"depth": 18, "stem": "cifar"},
            {"depth": 50, "stem": "imagenet", "sk_ratio": 0.0625},
            {"depth": 18, "stem": "cifar", "se_ratio": 0.25},
        ],
        ids=["basic", "selective kernels", "squeeze and excitation"],
    )
    def test_no_batch_norm_is_left(self, options):
        encoder = simclr_keras.resnet(
            width=0.0625, image_size=16, seed=0, **options
        )
        copy = assert_same(randomized(encoder), images())
        assert norms(copy) == []
        assert copy.get_layer("group2_block1_conv1").use_bias


def conv(**options):
    return layers.Conv2D(4, 3, **options)


def depthwise(**options):
    return layers.DepthwiseConv2D(3, depth_multiplier=2, **options)


def separable(**options):
    return layers.SeparableConv2D(5, 3, depth_multiplier=2, **options)


class TestLayers:
    @pytest.mark.parametrize("use_bias", [True, False])
    @pytest.mark.parametrize("make", [conv, depthwise, separable])
    @pytest.mark.parametrize(
        "options", [{}, {"center": False}, {"scale": False}]
    )
    def test_images(self, make, use_bias, options):
        x = inputs = keras.Input((8, 8, 3))
        x = make(use_bias=use_bias)(x)
        x = layers.BatchNormalization(axis=3, epsilon=0.1, **options)(x)
        x = layers.ReLU()(x)
        model = randomized(keras.Model(inputs, x))
        assert norms(assert_same(model, images(8))) == []

    def test_vectors_in_nested_models(self):
        head = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5),
                normalization.BatchNormalization(),
                layers.ReLU(),
            ],
            name="head",
        )
        inputs = keras.Input((6,))
        inner = keras.Model(inputs, head(inputs), name="inner")
        outer_inputs = keras.Input((6,))
        x = layers.BatchNormalization()(inner(outer_inputs))
        model = randomized(keras.Model(outer_inputs, x))
        copy = assert_same(model, images()[:, 0, :6, 0])
        assert norms(copy.get_layer("inner").get_layer("head")) == []
        assert len(norms(copy)) == 1

    def test_sequential_models(self):
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), conv(), layers.BatchNormalization()]
        )
        assert norms(assert_same(randomized(model), images(8))) == []


def activated(x):
    return layers.BatchNormalization()(conv(activation="relu")(x))


def read_twice(x):
    x = conv()(x)
    return layers.Add()([layers.BatchNormalization()(x), x])


def shared(x):
    layer, norm = conv(), layers.BatchNormalization()
    return layers.Add()([norm(layer(x)), norm(layer(x * 2))])


def other_axis(x):
    return layers.BatchNormalization(axis=1)(conv()(x))


def of_the_batch(x):
    return layers.BatchNormalization()(conv()(x), training=True)


def first(x):
    return conv()(layers.ReLU()(layers.BatchNormalization()(x)))


class TestFallback:
    @pytest.mark.parametrize(
        "network", [activated, read_twice, shared, other_axis, first]
    )
    def test_other_patterns_are_kept(self, network):
        inputs = keras.Input((8, 8, 3))
        model = randomized(keras.Model(inputs, network(inputs)))
        assert len(norms(assert_same(model, images(8)))) == 1

    def test_statistics_of_the_batch_are_kept(self):
        inputs = keras.Input((8, 8, 3))
        copy = folding.folded(keras.Model(inputs, of_the_batch(inputs)))
        assert len(norms(copy)) == 1

    def test_outputs_before_the_norm_are_kept(self):
        inputs = keras.Input((8, 8, 3))
        x = conv()(inputs)
        both = [x, layers.BatchNormalization()(x)]
        model = randomized(keras.Model(inputs, both))
        copy = folding.folded(model)
        assert len(norms(copy)) == 1
        for actual, expected in zip(
            copy(images(8)), model(images(8)), strict=True
        ):
            np.testing.assert_allclose(actual, expected, rtol=1e-6)

    def test_subclassed_models_are_returned(self):
        class Model(keras.Model):
            pass

        model = Model()
        assert folding.folded(model) is model


class TestPrecision:
    def test_bfloat16(self):
        encoder = randomized(
            simclr_keras.resnet(
                depth=50,
                width=0.125,
                sk_ratio=0.0625,
                stem="cifar",
                image_size=8,
                seed=0,
            )
        )
        copy = folding.folded(encoder, "bfloat16")
        kernel = copy.get_layer("group1_block1_conv1").kernel
        assert kernel.dtype == "bfloat16"
        for name in ("embedding", "group1_block1_sk_attention"):
            assert copy.get_layer(name).compute_dtype == "float32"
        features, expected = copy(images(8)), encoder(images(8))
        assert features.dtype == "float32"
        # Eight bits of mantissa through fifty layers.
        error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
        assert 1e-5 < error < 0.05

    def test_norms_that_stay_keep_float32_statistics(self):
        inputs = keras.Input((8, 8, 3))
        copy = folding.folded(
            keras.Model(inputs, first(inputs)), precision="bfloat16"
        )
        (name,) = norms(copy)
        assert copy.get_layer(name).moving_mean.dtype == "float32"
        assert copy.get_layer(name).compute_dtype == "bfloat16"

    def test_unknown(self):
        with pytest.raises(ValueError, match="`precision` must be one of"):
            folding.folded(keras.Model(), "int8")
