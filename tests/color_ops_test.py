"""Colour operations against Google's numbers, one amount per image."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import color_ops
from tests import golden

COLOR = golden.npz("color_ops.npz")
# float32 arithmetic on values up to about 1 in another order than Google's.
TOLERANCE = 5e-6
# Name of the function's golden array, and of its parameters there.
OPERATIONS = {
    "brightness_mul": (color_ops.adjust_brightness, "brightness_mul_factors"),
    "brightness_add": (
        lambda x, y: color_ops.adjust_brightness(x, y, mode="additive"),
        "brightness_add_deltas",
    ),
    "contrast": (color_ops.adjust_contrast, "contrast_factors"),
    "saturation": (color_ops.adjust_saturation, "saturation_factors"),
    "hue": (color_ops.adjust_hue, "hue_deltas"),
}
OUT_OF_RANGE = [
    key.removeprefix("oor_")
    for key in COLOR
    if key.startswith("oor_") and key != "oor_images"
]


def clipped(images):
    return np.clip(images, 0, 1)


def everywhere(value, images):
    return tf.fill([len(images)], tf.cast(value, tf.float32))


@pytest.mark.parametrize("name", OPERATIONS)
class TestEachOperation:
    def test_equals_google_s(self, name):
        function, parameters = OPERATIONS[name]
        images = COLOR["images"]
        for parameter, expected in zip(
            COLOR[parameters], COLOR[name], strict=True
        ):
            actual = function(images, everywhere(parameter, images))
            np.testing.assert_allclose(
                clipped(actual), expected, rtol=0, atol=TOLERANCE
            )

    def test_has_an_amount_per_image(self, name):
        """One batch of all amounts is as many batches of one amount."""
        function, parameters = OPERATIONS[name]
        image, expected = COLOR["images"][-1], COLOR[name][:, -1]
        amounts = tf.constant(COLOR[parameters])
        images = np.stack([image] * len(amounts))
        np.testing.assert_allclose(
            clipped(function(images, amounts)), expected, rtol=0, atol=TOLERANCE
        )

    def test_reads_uint8_as_float(self, name):
        function, parameters = OPERATIONS[name]
        images = np.round(COLOR["images"] * 255).astype(np.uint8)
        amounts = everywhere(COLOR[parameters][0], images)
        np.testing.assert_allclose(
            function(images, amounts),
            function(golden.images(images), amounts),
            rtol=0,
            atol=1e-6,
        )

    def test_same_in_a_graph(self, name):
        # Graph optimisation may regroup sums of floats, XLA fuses them.
        function, parameters = OPERATIONS[name]
        # Many values are equal in two channels, where hue has its corners.
        images = np.random.default_rng(0).integers(0, 4, (6, 9, 7, 3))
        images = images.astype(np.float32) / 3
        amounts = tf.constant(np.resize(COLOR[parameters], len(images)))
        eager = function(images, amounts)
        for jit_compile in (False, True):
            graph = tf.function(
                function, autograph=False, jit_compile=jit_compile
            )
            np.testing.assert_allclose(
                graph(images, amounts), eager, rtol=0, atol=2e-6
            )


@pytest.mark.parametrize("key", OUT_OF_RANGE)
def test_overshoot_is_treated_as_google_does(key):
    name, parameter = key.rsplit("_", 1)
    images = COLOR["oor_images"]
    function, _ = OPERATIONS[name]
    actual = function(images, everywhere(float(parameter), images))
    np.testing.assert_allclose(
        clipped(actual), COLOR[f"oor_{key}"], rtol=0, atol=TOLERANCE
    )


def test_grayscale_equals_google_s():
    gray = color_ops.to_grayscale(COLOR["images"])
    np.testing.assert_allclose(
        clipped(gray), COLOR["grayscale"], rtol=0, atol=TOLERANCE
    )


class TestBlur:
    @pytest.mark.parametrize("index", range(len(COLOR["blur_sigmas"])))
    def test_equals_google_s(self, index):
        size = int(COLOR["blur_kernel_sizes"][index])
        sigma = COLOR["blur_sigmas"][index]
        for images, expected in (
            (COLOR["images"], COLOR["blur"][index]),
            (COLOR["blur_big_image"][None], COLOR["blur_big"][index][None]),
        ):
            actual = color_ops.gaussian_blur(
                images, everywhere(sigma, images), size
            )
            np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)

    def test_has_a_sigma_per_image(self):
        size = int(np.max(COLOR["blur_kernel_sizes"]))
        rows = np.flatnonzero(COLOR["blur_kernel_sizes"] == size)
        images = np.stack([COLOR["blur_big_image"]] * len(rows))
        sigmas = tf.constant(COLOR["blur_sigmas"][rows])
        np.testing.assert_allclose(
            color_ops.gaussian_blur(images, sigmas, size),
            COLOR["blur_big"][rows],
            rtol=0,
            atol=TOLERANCE,
        )

    def test_oblong_images(self):
        images = COLOR["images"]
        sigmas = everywhere(1.5, images)
        whole = color_ops.gaussian_blur(images, sigmas, 3)
        top = color_ops.gaussian_blur(images[:, :7], sigmas, 3)
        # Rows whose kernel ends inside the upper part see no difference.
        np.testing.assert_allclose(top[:, :6], whole[:, :6], atol=1e-6)
        assert np.abs(top[:, 6] - whole[:, 6]).max() > 1e-3


def test_solarize_inverts_from_the_threshold_up():
    values = np.float32([0, 0.25, 0.375, 0.5, 0.75, 1])
    images = np.broadcast_to(values[:, None, None, None], [6, 2, 3, 3])
    solarized = color_ops.solarize(images, threshold=0.375)
    np.testing.assert_array_equal(
        solarized[:, 0, 0, 0], [0, 0.25, 0.625, 0.5, 0.25, 0]
    )


@pytest.mark.parametrize("size", [28, 224])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("static", [True, False])
def test_separable(static, batch_size, size):
    rng = np.random.default_rng(0)
    shapes = [
        [batch_size, 16, size],
        [3, batch_size, size, 40],
        [batch_size, 40, size],
    ]
    factors = [rng.uniform(size=shape).astype(np.float32) for shape in shapes]
    free = [
        tf.TensorSpec([n if static or n != batch_size else None for n in shape])
        for shape in shapes
    ]
    separable = tf.function(color_ops.separable, input_signature=free)
    rows, planes, columns = factors
    expected = rows @ planes @ columns
    # What is written past the end shows in one of several calls at the most.
    for _ in range(5):
        for product in (separable, color_ops.separable):
            np.testing.assert_allclose(
                product(*map(tf.constant, factors)), expected, rtol=1e-5
            )


class TestProperties:
    """Checked on pixels at the corners of the colour space, grey and dark."""

    @pytest.fixture
    def images(self):
        # TensorFlow itself loses a red whose hue rounds up to a whole turn.
        levels = np.float32([0, 1e-5, 1e-3, 0.5, 1])
        cube = np.stack(np.meshgrid(levels, levels, levels), -1)
        return cube.reshape(5, 5, 5, 3)

    def test_a_whole_turn_of_hue_changes_nothing(self, images):
        for turn in (-1.0, 0.0, 1.0, 7.0):
            turned = color_ops.adjust_hue(images, everywhere(turn, images))
            np.testing.assert_allclose(turned, images, rtol=0, atol=2e-6)

    def test_a_third_of_a_turn_of_hue_permutes_the_channels(self, images):
        turned = color_ops.adjust_hue(images, everywhere(1 / 3, images))
        np.testing.assert_allclose(
            turned, np.roll(images, 1, axis=-1), rtol=0, atol=2e-6
        )

    def test_hue_against_tensorflow(self, images):
        for turn in (-0.45, -0.1, 0.3, 0.5):
            np.testing.assert_allclose(
                color_ops.adjust_hue(images, everywhere(turn, images)),
                tf.image.adjust_hue(images, turn),
                rtol=0,
                atol=2e-6,
            )

    def test_saturation_against_tensorflow(self, images):
        for factor in (0.0, 0.4, 1.0, 1.7, 50.0):
            np.testing.assert_allclose(
                color_ops.adjust_saturation(images, everywhere(factor, images)),
                tf.image.adjust_saturation(images, factor),
                rtol=0,
                atol=2e-6,
            )

    def test_saturation_leaves_pixels_below_black_there(self):
        images = np.float32([[[[-0.3, -0.1, -0.2], [0, -0.1, -0.2]]]])
        saturated = color_ops.adjust_saturation(images, tf.constant([1.5]))
        assert np.max(saturated) <= 0
        np.testing.assert_allclose(
            saturated, tf.image.adjust_saturation(images, 1.5), atol=1e-6
        )

    def test_neutral_amounts_change_no_bit(self, images):
        planes = color_ops.to_planes(images * 1.4 - 0.2)
        one = tf.ones([len(images)])
        zero = tf.zeros([len(images)])
        affine = color_ops.affine(planes, one, zero, zero)
        saturated = color_ops.saturate(planes, 0.3 * one, zero)
        np.testing.assert_array_equal(affine, planes)
        np.testing.assert_array_equal(saturated, planes)

    def test_planes_and_back(self, images):
        planes = color_ops.to_planes(images)
        assert planes.shape == (3, *images.shape[:-1])
        np.testing.assert_array_equal(color_ops.from_planes(planes), images)
