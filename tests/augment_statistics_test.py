"""The distribution of whole views against statistics of Google's code.

n own draws against Google's m; tests/distributions.py states the tests.
"""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import color_ops
from simclr_keras.augment import augmenter
from simclr_keras.augment import fold_seed
from tests import golden
from tests.distributions import assert_same_distribution
from tests.distributions import assert_same_fraction

IMAGES = golden.npz("augment_images.npz")
STATISTICS = golden.load_json("augment_stats.json")
COLOUR, FULL = STATISTICS["colour"], STATISTICS["full_pipeline"]
DRAWS = 2500


def graph(layer, **options):
    """The layer as a train step calls it: a graph, without autograph."""
    return tf.function(
        lambda images, seed: layer(images, seed=seed, **options),
        autograph=False,
    )


@pytest.mark.parametrize("index", range(len(COLOUR)))
class TestColourStatistics:
    @pytest.fixture
    def views(self, index):
        image = IMAGES["colour_image"]
        additive = COLOUR[index]["brightness_impl"] == "simclrv1"
        layer = augmenter(
            len(image),
            COLOUR[index]["strength"],
            blur=False,
            brightness="additive" if additive else "multiplicative",
            jit_compile=False,
        )
        images = np.stack([image] * DRAWS)
        return graph(layer, cropped=True)(images, fold_seed(5, index)).numpy()

    def test_equals_google_s(self, views, index):
        expected = COLOUR[index]
        image = golden.images(IMAGES["colour_image"])
        gray_image = color_ops.to_grayscale(image[None])[0]
        gray = np.ptp(views, axis=-1).max((1, 2)) < 1e-6
        same = np.abs(views - image).max((1, 2, 3)) < 1e-6
        plain = np.abs(views - gray_image).max((1, 2, 3)) < 1e-6
        fractions = {
            "grayscale_fraction": gray,
            "identical_to_input_fraction": same,
            "equal_to_plain_grayscale_of_input_fraction": plain,
            "not_jittered_fraction": same | plain,
        }
        for name, own in fractions.items():
            assert_same_fraction(own, expected[name], expected["draws"])
        ratios = {
            "brightness_ratio_all_channels": ratio(np.mean, views, image),
            "contrast_ratio_all_channels": ratio(np.std, views, image),
            "mean_saturation_ratio": ratio(mean_saturation, views, image),
        }
        for number, channel in enumerate("RGB"):
            one = views[..., number], image[..., number]
            ratios[f"brightness_ratio_{channel}"] = ratio(np.mean, *one)
            ratios[f"contrast_ratio_{channel}"] = ratio(np.std, *one)
        groups = {
            "all_draws": np.ones(len(views), bool),
            "jittered_colour_draws": ~gray & ~same,
            "jittered_gray_draws": gray & ~plain,
        }
        for group, rows in groups.items():
            for name, values in ratios.items():
                block = expected[group]
                assert_same_distribution(
                    values[rows], block[name], block["count"]
                )


@pytest.mark.parametrize("index", range(len(FULL)))
def test_full_pipeline_has_google_s_statistics(index):
    expected = FULL[index]
    layer = augmenter(
        expected["output_size"],
        expected["strength"],
        blur=False,
        jit_compile=False,
    )
    images = np.stack([IMAGES[expected["source"]]] * DRAWS)
    views = graph(layer)(images, fold_seed(6, index)).numpy()
    values = {"min": views.min((1, 2, 3)), "max": views.max((1, 2, 3))}
    for number, channel in enumerate("RGB"):
        values[f"mean_{channel}"] = views[..., number].mean((1, 2))
        values[f"std_{channel}"] = views[..., number].std((1, 2))
    for name, own in values.items():
        assert_same_distribution(own, expected[name], expected["draws"])


def ratio(measure, views, image):
    axes = tuple(range(1, views.ndim))
    return measure(views, axis=axes) / measure(image)


def mean_saturation(images, axis=None):
    largest = np.max(images, -1)
    spread = largest - np.min(images, -1)
    axis = axis and axis[:-1]
    return np.mean(spread / np.maximum(largest, 1e-12), axis=axis)
