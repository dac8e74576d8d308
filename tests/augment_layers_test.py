"""Each layer of the augmentation against Google's numbers and statistics."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import color_ops
from simclr_keras import crops
from simclr_keras.augment_layers import RandomColorJitter
from simclr_keras.augment_layers import RandomGaussianBlur
from simclr_keras.augment_layers import RandomGrayscale
from simclr_keras.augment_layers import RandomResizedCrop
from simclr_keras.augment_layers import RandomSolarize
from tests import golden
from tests.distributions import assert_same_distribution
from tests.distributions import assert_same_fraction
from tests.distributions import assert_same_histogram

COLOR = golden.npz("color_ops.npz")
BLUR = golden.load_json("augment_stats.json")["blur"]
SEED = (1, 2)


def images_of(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 3), np.float32)


def draw(layer, count, images=None, seed=SEED):
    if images is None:
        images = tf.zeros([count, 8, 8, 3])
    values = layer.get_random_transformation_batch(
        count, images=images, seed=tf.constant(seed)
    )
    return {name: value.numpy() for name, value in values.items()}


class TestRandomResizedCrop:
    def test_reads_its_boxes_from_the_image(self):
        """Slope and middle of a ramp give the box back, its sign the flip."""
        height, width, size, count = 24, 40, 16, 50
        y, x = np.mgrid[:height, :width].astype(np.float32)
        ramp = np.stack([x + 0.5, y + 0.5, 0 * x], -1)
        images = np.broadcast_to(ramp, [count, *ramp.shape])
        layer = RandomResizedCrop(size)
        views = layer(images, seed=SEED).numpy()
        expected = draw(layer, count, images)
        y, x, heights, widths = expected["boxes"].T
        middle = slice(size // 2 - 1, size // 2 + 1)
        rows, columns = views[:, middle, 0, 1], views[:, 0, middle, 0]
        np.testing.assert_allclose(np.mean(rows, 1), y + heights / 2, atol=1e-3)
        np.testing.assert_allclose(
            np.mean(columns, 1), x + widths / 2, atol=1e-3
        )
        slopes = np.diff(columns)[:, 0] * size
        np.testing.assert_allclose(np.abs(slopes), widths, atol=0.02)
        np.testing.assert_array_equal(slopes < 0, expected["flips"])

    @pytest.mark.parametrize("crop", crops.SAMPLERS)
    def test_crop_is_the_sampler(self, crop):
        images = images_of(6, 20, 30)
        boxes, flips = crops.sample_boxes(SEED, 6, 20, 30, crop=crop)
        np.testing.assert_allclose(
            RandomResizedCrop(8, crop)(images, seed=SEED),
            crops.crop_and_resize(images, boxes, (8, 8), flips),
            atol=1e-6,
        )

    def test_overshoot_is_kept(self):
        images = np.round(images_of(20, 16, 16))
        views = RandomResizedCrop(32)(images, seed=SEED).numpy()
        assert np.min(views) < -0.01 and np.max(views) > 1.01


class TestRandomColorJitter:
    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_equals_google_s_chain(self, version):
        """All orders of the file in one batch, an order and amounts each."""
        images, orders = COLOR["images"], COLOR["chain_orders"]
        parameters = np.repeat(COLOR["chain_params"], len(images), axis=0)
        positions = np.repeat(np.argsort(orders, 1), len(images), axis=0)
        factor, delta, contrast, saturation, hue = parameters.T
        additive = version == "v1"
        transformations = {
            "jittered": np.ones(len(positions), bool),
            "positions": positions.astype(np.int32),
            "brightness": delta if additive else factor,
            "contrast": contrast,
            "saturation": saturation,
            "hue": hue,
        }
        layer = RandomColorJitter(
            brightness="additive" if additive else "multiplicative"
        )
        actual = layer.augment_images(
            np.tile(images, [len(orders), 1, 1, 1]),
            {k: tf.constant(v) for k, v in transformations.items()},
        )
        expected = COLOR[f"chain_{version}"]
        np.testing.assert_allclose(
            np.reshape(actual, expected.shape), expected, rtol=0, atol=1e-5
        )

    def test_any_order_equals_single_operations(self):
        """The chain of public operations, clipped after each, is the slow way.

        Half of the images are not jittered and stay outside [0, 1].
        """
        orders = np.array(list(itertools.permutations(range(4))) * 2)
        images = images_of(len(orders), 5, 4) * 1.4 - 0.2
        layer = RandomColorJitter()
        values = draw(layer, len(orders))
        values["positions"] = np.argsort(orders, 1).astype(np.int32)
        values["jittered"] = np.arange(len(orders)) < len(orders) // 2
        operations = [
            (color_ops.adjust_brightness, values["brightness"]),
            (color_ops.adjust_contrast, values["contrast"]),
            (color_ops.adjust_saturation, values["saturation"]),
            (color_ops.adjust_hue, values["hue"]),
        ]
        expected = images.copy()
        for index in np.flatnonzero(values["jittered"]):
            image = images[index : index + 1]
            for number in orders[index]:
                operation, amounts = operations[number]
                image = operation(image, tf.constant(amounts[index, None]))
                image = np.clip(image, 0, 1)
            expected[index] = image[0]
        actual = layer.augment_images(
            images, {k: tf.constant(v) for k, v in values.items()}
        )
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)
        assert np.min(actual) < -0.1 and np.max(actual) > 1.1

    def test_all_24_orders_are_equally_frequent(self):
        positions = draw(RandomColorJitter(), 12000)["positions"]
        orders, counts = np.unique(positions, axis=0, return_counts=True)
        assert orders.shape == (24, 4)
        assert_same_histogram(counts, np.full(24, 10**6))

    @pytest.mark.parametrize("strength", [0.0, 0.5, 1.25])
    def test_amounts_are_uniform_in_their_range(self, strength):
        count, spread = 5000, 0.8 * strength
        values = draw(RandomColorJitter(strength), count)
        added = draw(RandomColorJitter(strength, "additive"), count)
        for amounts, middle, half in [
            (values["brightness"], 1, spread),
            (values["contrast"], 1, spread),
            (values["saturation"], 1, spread),
            (values["hue"], 0, 0.2 * strength),
            (added["brightness"], 0, spread),
        ]:
            assert np.all(np.abs(amounts - middle) <= half + 1e-6)
            if strength:
                rank = np.sort((amounts - middle) / half) / 2 + 0.5
                steps = (np.arange(count) + 0.5) / count
                # Kolmogorov-Smirnov, far out in its tail.
                assert np.max(np.abs(rank - steps)) < 2.2 / count**0.5
        drawn = [values[k] for k in ("brightness", "contrast", "saturation")]
        if strength:
            correlation = np.corrcoef([*drawn, values["hue"]])
            assert np.max(np.abs(correlation - np.eye(4))) < 5 / count**0.5

    def test_probability(self):
        jittered = draw(RandomColorJitter(probability=0.3), 5000)["jittered"]
        assert_same_fraction(jittered, 0.3, 10**9)
        images = images_of(4, 3, 3)
        same = RandomColorJitter(probability=0)(images, seed=SEED)
        np.testing.assert_array_equal(same, images)

    def test_parameters_differ_between_images(self):
        image = images_of(6, 6)
        views = RandomColorJitter(probability=1)(
            np.stack([image] * 16), seed=SEED
        ).numpy()
        assert len({view.tobytes() for view in views}) == 16


class TestRandomGrayscale:
    def test_share_and_value(self):
        images = images_of(4000, 2, 2)
        views = RandomGrayscale(0.2)(images, seed=SEED).numpy()
        gray = draw(RandomGrayscale(0.2), 4000)["gray"]
        assert_same_fraction(gray, 0.2, 10**9)
        np.testing.assert_array_equal(views[~gray], images[~gray])
        np.testing.assert_allclose(
            views[gray], color_ops.to_grayscale(images[gray]), atol=1e-7
        )


class TestRandomGaussianBlur:
    @pytest.mark.parametrize("index", range(len(BLUR)))
    def test_statistics_are_google_s(self, index):
        """An impulse at the centre: what is left of it measures sigma."""
        expected = BLUR[index]
        size, count = expected["image_size"], 1500
        # Far from the borders nothing but the rows around matters.
        impulse = np.zeros([count, size, 1 + expected["kernel_taps"], 3])
        middle = size // 2, impulse.shape[2] // 2
        impulse[:, middle[0], middle[1]] = 1
        views = RandomGaussianBlur()(impulse.astype(np.float32), seed=SEED)
        centre = views.numpy()[:, middle[0], middle[1], 0]
        draws = expected["draws"] * expected["batch"]
        changed = centre < 1
        assert_same_fraction(changed, expected["changed_fraction"], draws)
        assert_same_distribution(
            centre[changed],
            expected["centre_value_of_changed"],
            # One sigma per view: as many independent values as calls.
            expected["draws"] * expected["changed_fraction"],
        )

    def test_kernel_is_a_tenth_of_the_height(self):
        for height, taps in [(9, 1), (32, 3), (96, 9), (224, 23)]:
            impulse = np.zeros([40, height, taps + 4, 3], np.float32)
            impulse[:, height // 2, taps // 2 + 2] = 1
            views = RandomGaussianBlur(1.0)(impulse, seed=SEED).numpy()
            touched = np.any(views[..., 0] > 0, axis=(0, 2))
            assert np.sum(touched) == taps

    def test_sigma_per_image_or_per_view(self):
        own = draw(RandomGaussianBlur(sigma="image"), 50)["sigmas"]
        shared = draw(RandomGaussianBlur(sigma="view"), 50)["sigmas"]
        assert len(set(own)) == 50 and len(set(shared)) == 1
        assert np.min(own) >= 0.1 and np.max(own) < 2
        other = draw(RandomGaussianBlur(sigma="view"), 50, seed=(1, 3))
        assert shared[0] != other["sigmas"][0]
        blurred = draw(RandomGaussianBlur(sigma="view"), 50)["blurred"]
        assert 0 < np.sum(blurred) < 50

    def test_needs_a_static_height(self):
        layer = RandomGaussianBlur()
        blur = tf.function(
            lambda x: layer(x, seed=SEED),
            autograph=False,
            input_signature=[tf.TensorSpec([2, None, 8, 3], tf.float32)],
        )
        with pytest.raises(ValueError, match="`images` must have a static"):
            blur(images_of(2, 8, 8))


class TestRandomSolarize:
    def test_share_and_value(self):
        images = images_of(4000, 2, 2)
        layer = RandomSolarize(0.3, threshold=0.4)
        views = layer(images, seed=SEED).numpy()
        solarized = draw(layer, 4000)["solarized"]
        assert_same_fraction(solarized, 0.3, 10**9)
        np.testing.assert_array_equal(views[~solarized], images[~solarized])
        np.testing.assert_array_equal(
            views[solarized],
            np.where(images < 0.4, images, 1 - images)[solarized],
        )


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        (RandomResizedCrop, dict(image_size=9, crop="torchvision", seed=3)),
        (RandomColorJitter, dict(strength=0.4, brightness="additive")),
        (RandomGrayscale, dict(probability=0.6)),
        (RandomGaussianBlur, dict(probability=0.6, sigma="view")),
        (RandomSolarize, dict(probability=0.6, threshold=0.2)),
    ],
)
def test_layers_survive_serialisation(layer, arguments):
    layer = layer(name="part", **arguments)
    stored = keras.saving.serialize_keras_object(layer)
    assert stored["registered_name"] == f"simclr_keras>{type(layer).__name__}"
    loaded = keras.saving.deserialize_keras_object(stored)
    assert loaded.get_config() == layer.get_config()
    images = images_of(6, 20, 20)
    np.testing.assert_array_equal(
        loaded(images, seed=SEED), layer(images, seed=SEED)
    )


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (RandomResizedCrop, (0,), "`image_size` must be a positive int"),
        (RandomResizedCrop, (8.5,), "`image_size` must be a positive int"),
        (RandomResizedCrop, (8, "x"), "`crop` must be one of google, torchv"),
        (RandomResizedCrop, (8, "google", -1), "`flip_probability` must be"),
        (RandomColorJitter, (1.26,), "`strength` must be from 0 to 1.25"),
        (RandomColorJitter, (-0.1,), "`strength` must be from 0 to 1.25"),
        (RandomColorJitter, (1, "x"), "`brightness` must be one of multiplic"),
        (RandomColorJitter, (1, "additive", 2), "`probability` must be from 0"),
        (RandomGrayscale, (float("nan"),), "`probability` must be from 0"),
        (RandomGaussianBlur, ("a",), "`probability` must be from 0"),
        (RandomGaussianBlur, (0.5, "batch"), "`sigma` must be one of image"),
        (RandomSolarize, (1.5,), "`probability` must be from 0 to 1"),
        (RandomSolarize, (0.5, 2), "`threshold` must be from 0 to 1"),
    ],
)
def test_layers_refuse(layer, arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        layer(*arguments)
