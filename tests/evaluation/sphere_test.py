"""Alignment and uniformity against their definitions."""

import math

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.evaluation import sphere
from tests import small_run


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=[12, 5])


def unit(row):
    return row / np.linalg.norm(row)


class TestAlignment:
    def test_is_the_mean_squared_distance(self, x):
        y = x + 0.3 * x[::-1]
        expected = np.mean(
            [
                np.linalg.norm(unit(a) - unit(b)) ** 2
                for a, b in zip(x, y, strict=True)
            ]
        )
        assert sphere.alignment(x, y) == pytest.approx(expected, rel=1e-5)

    def test_of_equal_views_is_0_and_of_opposite_ones_4(self, x):
        assert sphere.alignment(x, 2 * x) == pytest.approx(0.0, abs=1e-6)
        assert sphere.alignment(x, -x) == pytest.approx(4.0)


class TestUniformity:
    def test_is_the_log_of_the_mean_potential(self, x):
        potentials = [
            math.exp(-2 * np.linalg.norm(unit(x[i]) - unit(x[j])) ** 2)
            for i in range(len(x))
            for j in range(i)
        ]
        expected = math.log(np.mean(potentials))
        assert sphere.uniformity(x) == pytest.approx(expected, rel=1e-5)

    def test_of_a_point_is_0_and_of_orthogonal_ones_minus_4(self):
        assert sphere.uniformity(np.ones([4, 3])) == pytest.approx(
            0.0, abs=1e-5
        )
        assert sphere.uniformity(np.eye(5)) == pytest.approx(-4.0)

    def test_of_one_embedding_is_nothing(self):
        assert math.isnan(sphere.uniformity(np.ones([1, 3])))


def test_run_is_of_two_views_of_each_image_and_changes_nothing():
    model = small_run.model()
    before = small_run.weights(model)
    # More than are embedded at a time.
    images = np.random.default_rng(0).random([260, 8, 8, 3], np.float32)
    found = sphere.run(model, images)
    for old, new in zip(before, small_run.weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    views = tf.concat(
        [
            tf.stack(tf.split(model.views(images[:250], -1, 0), 2)),
            tf.stack(tf.split(model.views(images[250:], -1, 250), 2)),
        ],
        axis=1,
    )
    first, second = (model.encoder(v, training=False) for v in views)
    assert found["alignment"] == pytest.approx(
        sphere.alignment(first, second), rel=1e-4
    )
    z1, z2 = map(model.projection_head, (first, second))
    assert found["projection_alignment"] == pytest.approx(
        sphere.alignment(z1, z2), rel=1e-4
    )
    assert found["projection_uniformity"] == pytest.approx(
        sphere.uniformity(z1), rel=1e-4
    )
