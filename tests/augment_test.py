"""The augmenter: seeds, arguments, host-cropped views, saving."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import color_ops
from simclr_keras.augment import augmenter
from simclr_keras.augment import fold_seed
from simclr_keras.augment import host_crop

SEED = (1, 2)


def images_of(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8)


class TestSeeds:
    def test_views_of_a_pair_differ_and_repeat(self):
        layer, images = augmenter(16), images_of(6, 20, 20)
        first, second, again = (
            layer(images, seed=fold_seed(0, 3, 0, view)) for view in (0, 1, 0)
        )
        np.testing.assert_array_equal(first, again)
        differences = np.abs(first - second).max(axis=(1, 2, 3))
        assert np.all(differences > 0.05)

    def test_images_of_a_batch_have_their_own_parameters(self):
        layer = augmenter(16, flip_probability=0)
        images = np.stack([images_of(20, 20)] * 32)
        views = layer(images, seed=SEED).numpy()
        assert len({view.tobytes() for view in views}) == 32

    def test_parts_draw_independently(self):
        layer = augmenter(8, solarize=0.5)
        drawn = layer.get_random_transformation_batch(
            4000, images=tf.zeros([4000, 9, 9, 3]), seed=tf.constant(SEED)
        )
        coins = np.stack(
            [
                drawn["crop"]["flips"],
                drawn["jitter"]["jittered"],
                drawn["grayscale"]["gray"],
                drawn["blur"]["blurred"],
                drawn["solarize"]["solarized"],
                drawn["jitter"]["brightness"],
                drawn["crop"]["boxes"][:, 0],
            ]
        )
        correlation = np.corrcoef(coins.astype(float)) - np.eye(len(coins))
        assert np.max(np.abs(correlation)) < 5 / 4000**0.5

    def test_leaving_a_part_out_changes_no_other_draw(self):
        def drawn(**arguments):
            return augmenter(8, **arguments).get_random_transformation_batch(
                9, images=tf.zeros([9, 9, 9, 3]), seed=tf.constant(SEED)
            )

        whole, part = drawn(solarize=0.5), drawn(blur=False)
        assert set(whole) - set(part) == {"blur", "solarize"}
        for name, values in part.items():
            for key in values:
                np.testing.assert_array_equal(values[key], whole[name][key])

    def test_without_a_seed_views_differ(self):
        layer, images = augmenter(8, seed=1), images_of(4, 9, 9)
        first = layer(images)
        assert np.max(np.abs(first - layer(images))) > 0.05
        again = augmenter(8, seed=1)(images)
        np.testing.assert_array_equal(first, again)


class TestCropped:
    def test_only_the_colour_part_runs(self):
        views = np.stack(
            [host_crop(images_of(30, 40), fold_seed(0, i), 12) for i in (0, 1)]
        )
        off = dict(jitter_probability=0, grayscale_probability=0, blur=False)
        plain = augmenter(12, **off)(views, seed=SEED, cropped=True)
        np.testing.assert_array_equal(plain, np.clip(views, 0, 1))
        layer = augmenter(12)
        drawn = layer.get_random_transformation_batch(
            2, images=tf.constant(views), seed=tf.constant(SEED), cropped=True
        )
        assert set(drawn) == {"jitter", "grayscale", "blur"}
        np.testing.assert_array_equal(
            layer.augment_images(tf.constant(views), drawn),
            layer(views, seed=SEED, cropped=True),
        )

    def test_overshoot_reaches_the_grayscale(self):
        rng = np.random.default_rng(0)
        views = rng.uniform(-0.3, 1.3, (4, 12, 12, 3)).astype(np.float32)
        layer = augmenter(
            12, jitter_probability=0, grayscale_probability=1, blur=False
        )
        np.testing.assert_allclose(
            layer(views, seed=SEED, cropped=True),
            np.clip(color_ops.to_grayscale(views), 0, 1),
            atol=1e-6,
        )

    def test_same_colours_as_when_cropped_here(self):
        layer = augmenter(12)
        drawn = [
            layer.get_random_transformation_batch(
                3,
                images=tf.zeros([3, 12, 12, 3]),
                seed=tf.constant(SEED),
                cropped=cropped,
            )["jitter"]
            for cropped in (False, True)
        ]
        for name in drawn[0]:
            np.testing.assert_array_equal(drawn[0][name], drawn[1][name])

    def test_refuses_another_size(self):
        with pytest.raises(ValueError, match="`inputs` must be views of 12 x"):
            augmenter(12)(images_of(2, 12, 13), seed=SEED, cropped=True)


class TestAugmenter:
    def test_views_are_float32_in_zero_to_one(self):
        images = np.round(images_of(64, 10, 10) / 255) * np.float32(1)
        views = augmenter(16, solarize=0.5)(images, seed=SEED).numpy()
        assert views.shape == (64, 16, 16, 3) and views.dtype == np.float32
        assert views.min() == 0 and views.max() == 1

    def test_one_pixel_images(self):
        image = np.full([1, 1, 3], 51, np.uint8)
        off = dict(jitter_probability=0, grayscale_probability=0, blur=False)
        view = augmenter(4, **off)(image, seed=SEED)
        np.testing.assert_allclose(view, np.full([4, 4, 3], 0.2), atol=1e-6)

    def test_everything_off_is_crop_and_flip(self):
        off = dict(jitter_probability=0, grayscale_probability=0, blur=False)
        layer, images = augmenter(8, **off), images_of(4, 9, 9)
        crop = layer.crop(images, seed=fold_seed(SEED, 0))
        np.testing.assert_allclose(
            layer(images, seed=SEED), np.clip(crop, 0, 1), atol=1e-6
        )

    def test_arguments_reach_the_parts(self):
        layer = augmenter(
            8,
            0.25,
            crop="torchvision",
            brightness="additive",
            blur_sigma="view",
            solarize=0.1,
            flip_probability=0.2,
            jitter_probability=0.3,
            grayscale_probability=0.4,
            blur_probability=0.6,
        )
        assert (layer.crop.image_size, layer.crop.crop) == (8, "torchvision")
        assert layer.crop.flip_probability == 0.2
        assert layer.jitter.strength == 0.25
        assert layer.jitter.brightness == "additive"
        assert layer.jitter.probability == 0.3
        assert layer.grayscale.probability == 0.4
        assert (layer.blur.probability, layer.blur.sigma) == (0.6, "view")
        assert layer.solarize.probability == 0.1
        assert augmenter(8, blur=False).blur is None
        assert augmenter(8).solarize is None

    def test_survives_saving_in_a_model(self, tmp_path):
        layer = augmenter(8, 0.5, crop="torchvision", seed=2)
        inputs = keras.Input([9, 9, 3])
        model = keras.Model(inputs, layer(inputs))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
        assert loaded.get_config() == layer.get_config()
        images = images_of(4, 9, 9)
        np.testing.assert_array_equal(
            loaded(images, seed=SEED), layer(images, seed=SEED)
        )

    @pytest.mark.parametrize(
        ("argument", "value", "rule"),
        [
            ("image_size", 0, "a positive int"),
            ("strength", 1.3, "from 0 to 1.25"),
            ("crop", "center", "one of google, torchvision, none"),
            ("brightness", "v1", "one of multiplicative, additive"),
            ("blur_sigma", "batch", "one of image, view"),
            ("solarize", -0.1, "from 0 to 1"),
            ("flip_probability", 1.1, "from 0 to 1"),
            ("jitter_probability", 1.1, "from 0 to 1"),
            ("grayscale_probability", None, "from 0 to 1"),
            ("blur_probability", "half", "from 0 to 1"),
        ],
    )
    def test_refuses(self, argument, value, rule):
        message = f"`{argument}` must be {rule}.*Received: "
        with pytest.raises(ValueError, match=message):
            augmenter(**{"image_size": 8, argument: value})

    def test_refuses_unused_settings_as_well(self):
        with pytest.raises(ValueError, match="`blur_sigma` must be one of"):
            augmenter(8, blur=False, blur_sigma="batch")

    def test_defaults_are_the_paper_s(self):
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(
                augmenter
            ).parameters.items()
        }
        assert defaults["strength"] == 1.0 and defaults["blur"] is True
        assert defaults["jitter_probability"] == 0.8
        assert defaults["grayscale_probability"] == 0.2
        assert defaults["blur_probability"] == 0.5
        assert defaults["flip_probability"] == 0.5
