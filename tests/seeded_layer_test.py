"""Stateless seeds, and what all augmentation layers share."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import seeded_layer
from simclr_keras.augment_layers import RandomColorJitter
from simclr_keras.augment_layers import RandomGrayscale
from simclr_keras.augment_layers import RandomSolarize
from simclr_keras.seeded_layer import fold_seed


def images_of(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8)


class TestFoldSeed:
    def test_value(self):
        # Runs of one version resume under the next: the values are fixed.
        np.testing.assert_array_equal(fold_seed(0, 1, 2), [-1054860931, 2])

    def test_is_int32_pair(self):
        seed = fold_seed(7, 1)
        assert seed.dtype == tf.int32 and seed.shape == (2,)

    @pytest.mark.parametrize("value", [0, 5, -1, 2**31 - 1, -(2**31), 2**40])
    def test_ints_and_tensors_agree(self, value):
        expected = fold_seed(value, 3, value)
        for same in (np.int64(value), tf.constant(value, tf.int64)):
            np.testing.assert_array_equal(fold_seed(same, 3, same), expected)

    def test_folding_in_steps_is_folding_at_once(self):
        np.testing.assert_array_equal(
            fold_seed(fold_seed(1, 2), 3), fold_seed(1, 2, 3)
        )

    def test_same_in_a_graph_and_under_xla(self):
        for jit_compile in (False, True):
            fold = tf.function(
                lambda step: fold_seed(3, step, 1), jit_compile=jit_compile
            )
            step = tf.constant(2**33 + 5, tf.int64)
            np.testing.assert_array_equal(fold(step), fold_seed(3, step, 1))

    def test_every_argument_and_its_place_count(self):
        seeds = {
            tuple(fold_seed(*arguments).numpy())
            for arguments in [
                (0,),
                (1,),
                (2**32,),
                (0, 0),
                (0, 1),
                (1, 0),
                (0, 1, 2),
                (0, 2, 1),
                (0, 1, 2, 0),
            ]
        }
        assert len(seeds) == 9

    @pytest.mark.parametrize(
        "arguments", [(0.5,), ([1, 2, 3],), (0, 1.5), (0, [1, 2]), ("a",)]
    )
    def test_refuses(self, arguments):
        with pytest.raises(ValueError, match="must be integers of shape"):
            fold_seed(*arguments)


class TestUniform:
    def test_is_tensorflow_s(self):
        np.testing.assert_array_equal(
            seeded_layer.uniform([1, 2], [50, 7]),
            tf.random.stateless_uniform([50, 7], [1, 2], alg="philox"),
        )

    def test_same_under_xla(self):
        draw = tf.function(
            lambda seed: seeded_layer.uniform(seed, [50, 7]), jit_compile=True
        )
        seed = tf.constant([1, 2])
        np.testing.assert_array_equal(
            draw(seed), seeded_layer.uniform(seed, [50, 7])
        )


class TestSeeds:
    def test_same_seed_same_result(self):
        layer, images = RandomColorJitter(), images_of(8, 6, 6)
        first, again = layer(images, seed=[1, 2]), layer(images, seed=[1, 2])
        np.testing.assert_array_equal(first, again)
        other = layer(images, seed=[1, 3])
        assert np.max(np.abs(first - other)) > 0.1

    @pytest.mark.parametrize("seed", [0, 1, 12345])
    def test_own_seeds_differ_from_call_to_call_and_repeat(self, seed):
        images = images_of(8, 6, 6)
        runs = []
        for _ in range(2):
            layer = RandomColorJitter(seed=seed)
            runs.append([layer(images).numpy() for _ in range(2)])
        np.testing.assert_array_equal(runs[0], runs[1])
        assert np.max(np.abs(runs[0][0] - runs[0][1])) > 0.1

    def test_different_own_seeds(self):
        images = images_of(8, 6, 6)
        zero, one = (RandomColorJitter(seed=s)(images) for s in (0, 1))
        assert np.max(np.abs(zero - one)) > 0.1

    def test_without_a_seed_keras_decides(self):
        images = images_of(8, 6, 6)
        runs = []
        for _ in range(2):
            keras.utils.set_random_seed(3)
            runs.append(RandomColorJitter()(images).numpy())
        np.testing.assert_array_equal(runs[0], runs[1])
        assert np.max(np.abs(RandomColorJitter()(images) - runs[0])) > 0.1

    def test_own_seeds_in_a_graph(self):
        layer = RandomColorJitter(seed=4)
        images = tf.constant(images_of(8, 6, 6))
        twice = tf.function(lambda x: (layer(x), layer(x)), autograph=False)
        views = [*twice(images), *twice(images)]
        assert len({view.numpy().tobytes() for view in views}) == 4


class TestInputs:
    def test_layers_extend_keras_cv(self):
        base = keras_cv.layers.VectorizedBaseImageAugmentationLayer
        assert isinstance(RandomGrayscale(), base)

    def test_one_image_is_a_batch_of_one(self):
        layer, image = RandomSolarize(1.0), images_of(5, 4)
        one = layer(image, seed=[1, 2])
        assert one.shape == (5, 4, 3)
        np.testing.assert_array_equal(one, layer(image[None], seed=[1, 2])[0])

    def test_dict_keeps_all_but_the_images(self):
        labels = np.arange(1000, 1003)
        inputs = {"images": images_of(3, 4, 4), "labels": labels, "name": "x"}
        outputs = RandomGrayscale(1.0)(inputs, seed=[1, 2])
        assert set(outputs) == set(inputs)
        np.testing.assert_array_equal(outputs["labels"], labels)
        np.testing.assert_array_equal(
            outputs["images"],
            RandomGrayscale(1.0)(inputs["images"], seed=[1, 2]),
        )

    def test_unknown_height_and_width(self):
        layer, images = RandomColorJitter(), images_of(3, 4, 5)
        call = tf.function(
            lambda x: layer(x, seed=[1, 2]),
            autograph=False,
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
        )
        np.testing.assert_allclose(
            call(images), layer(images, seed=[1, 2]), atol=1e-6
        )

    def test_inside_a_functional_model(self):
        inputs = keras.Input([4, 5, 3])
        model = keras.Model(inputs, RandomGrayscale(1.0)(inputs))
        assert model.output_shape == (None, 4, 5, 3)
        gray = model(images_of(2, 4, 5) / np.float32(255)).numpy()
        np.testing.assert_allclose(gray[..., 0], gray[..., 1], atol=1e-7)

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (np.zeros([4, 4], np.float32), "`images` must be RGB"),
            (np.zeros([2, 4, 4, 1], np.float32), "`images` must be RGB"),
            (np.zeros([1, 2, 4, 4, 3], np.float32), "`images` must be RGB"),
            (np.zeros([2, 4, 4, 3], np.int64), "`images` must be uint8"),
            (
                tf.ragged.constant([[[[1.0] * 3]]], ragged_rank=2),
                "`images` must have one size",
            ),
            (
                {"images": np.zeros([2, 4, 4, 3]), "bounding_boxes": 0},
                "`inputs` must hold nothing that a crop would move",
            ),
        ],
    )
    def test_refuses_inputs(self, inputs, message):
        with pytest.raises(ValueError, match=message):
            RandomGrayscale()(inputs)

    @pytest.mark.parametrize("seed", [[1, 2, 3], [0.5, 1.5], 7])
    def test_refuses_seeds(self, seed):
        with pytest.raises(ValueError, match="`seed` must be integers"):
            RandomGrayscale()(images_of(1, 2, 2), seed=seed)


class TestPrecision:
    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_policy_does_not_matter(self, policy):
        images = images_of(8, 6, 6) / np.float32(255)
        expected = RandomColorJitter()(images, seed=[1, 2])
        keras.config.set_dtype_policy(policy)
        layer = RandomColorJitter()
        actual = layer(images, seed=[1, 2])
        assert layer.compute_dtype == layer.variable_dtype == "float32"
        assert actual.dtype == tf.float32
        np.testing.assert_array_equal(actual, expected)

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_other_floats_are_cast(self, dtype):
        images = (images_of(4, 6, 6) / 255).astype(dtype)
        actual = RandomColorJitter()(images, seed=[1, 2])
        assert actual.dtype == tf.float32
        np.testing.assert_array_equal(
            actual,
            RandomColorJitter()(images.astype(np.float32), seed=[1, 2]),
        )

    def test_refuses_another_dtype(self):
        with pytest.raises(ValueError, match="`dtype` must be float32"):
            RandomGrayscale(dtype="mixed_bfloat16")
