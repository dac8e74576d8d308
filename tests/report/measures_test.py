"""Measures of embeddings against definitions and other routes."""

import numpy as np
import pytest
import sklearn.metrics

from simclr_keras.report import measures


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=[12, 5])


def unit(row):
    return row / np.linalg.norm(row)


def test_confusion():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 4, [2, 50])
    np.testing.assert_array_equal(
        measures.confusion(labels, predictions, 5),
        sklearn.metrics.confusion_matrix(labels, predictions, labels=range(5)),
    )


class TestNeighbours:
    def test_are_the_nearest_by_angle(self, x):
        found = measures.neighbours(x)
        for row, query in enumerate(found["queries"]):
            others = [i for i in range(len(x)) if i != query]
            cosine = {i: float(unit(x[i]) @ unit(x[query])) for i in others}
            expected = sorted(others, key=cosine.get, reverse=True)[:7]
            assert found["neighbours"][row].tolist() == expected
            assert found["similarities"][row] == pytest.approx(
                [cosine[i] for i in expected], abs=1e-6
            )

    def test_queries_are_of_different_classes(self, x):
        labels = np.array([0] * 9 + [1, 2, 2])
        queries = measures.neighbours(x, labels)["queries"]
        assert sorted(labels[queries]) == [0, 1, 2]

    def test_of_one_image_there_are_none(self, x):
        found = measures.neighbours(x[:1])
        assert found["neighbours"].shape == (1, 0)


class TestMap:
    def test_keeps_groups_together(self):
        rng = np.random.default_rng(0)
        group = np.arange(40) % 2
        x = np.eye(6)[group] + 0.05 * rng.normal(size=[40, 6])
        points = measures.map_of(x)
        assert points.shape == (40, 2)
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert (group[distances.argmin(axis=1)] == group).all()

    def test_needs_some_that_differ(self, x):
        assert measures.map_of(x[:9]) is None
        assert measures.map_of(np.ones([20, 3])) is None
