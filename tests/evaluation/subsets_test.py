import numpy as np
import pytest

from simclr_keras.evaluation import subsets


def _labels(num=200, num_classes=7):
    return np.random.default_rng(0).integers(0, num_classes, num) * 2


class TestPerClass:
    def test_takes_as_many_of_each_class(self):
        labels = _labels()
        rows = subsets.per_class(labels, 5, seed=0)
        assert len(set(rows)) == len(rows) == 35
        counts = np.unique(labels[rows], return_counts=True)[1]
        np.testing.assert_array_equal(counts, 5)

    def test_smaller_draws_lie_inside_larger_ones_of_a_seed(self):
        labels = _labels()
        draws = [set(subsets.per_class(labels, k, seed=3)) for k in (1, 5, 10)]
        assert draws[0] < draws[1] < draws[2]

    def test_seed_decides(self):
        labels = _labels()
        first, again, other = (
            subsets.per_class(labels, 5, seed=seed) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert set(first) != set(other)

    def test_a_class_is_drawn_without_regard_to_the_others(self):
        labels = _labels()
        alone = subsets.per_class(np.where(labels == 4, 4, 0), 5, seed=0)
        rows = subsets.per_class(labels, 5, seed=0)
        assert {i for i in rows if labels[i] == 4} == {
            i for i in alone if labels[i] == 4
        }

    def test_small_class_is_named(self):
        labels = np.array([0] * 9 + [5] * 3)
        with pytest.raises(ValueError, match="3 of class 5.*per_class=4"):
            subsets.per_class(labels, 4, seed=0)

    def test_none_is_refused(self):
        with pytest.raises(ValueError, match="`labels_per_class` must be at"):
            subsets.per_class(_labels(), 0, seed=0)


class TestOfEachClass:
    def test_takes_the_share_of_each_class_and_one_at_least(self):
        labels = np.array([0] * 1000 + [1] * 149 + [7] * 3)
        rows = subsets.of_each_class(labels, 0.01, seed=0)
        assert np.bincount(labels[rows]).tolist() == [10, 1] + [0] * 5 + [1]
        assert len(subsets.of_each_class(labels, 1.0, seed=0)) == len(labels)

    def test_smaller_shares_lie_inside_larger_ones_of_a_seed(self):
        labels = _labels(num=2000)
        draws = [
            set(subsets.of_each_class(labels, share, seed=3))
            for share in (0.01, 0.1, 0.5)
        ]
        assert draws[0] < draws[1] < draws[2]
        smallest = min(np.bincount(labels)[::2])
        assert set(subsets.per_class(labels, smallest // 20, seed=3)) < draws[1]
        assert draws[0] != set(subsets.of_each_class(labels, 0.01, seed=4))

    @pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
    def test_no_share(self, share):
        with pytest.raises(ValueError, match="`share` must be above 0"):
            subsets.of_each_class(_labels(), share, seed=0)


class TestValidationSplit:
    def test_is_disjoint_stratified_and_whole(self):
        labels = _labels()
        fit, held = subsets.validation_split(labels, 0.2, seed=0, most=10**6)
        assert sorted([*fit, *held]) == list(range(200))
        for label in np.unique(labels):
            total = np.sum(labels == label)
            assert np.sum(labels[held] == label) == int(0.2 * total)

    def test_is_thinned_evenly_but_keeps_every_class(self):
        labels = np.array([0] * 1000 + [1] * 500 + [2] * 3)
        fit, held = subsets.validation_split(labels, 0.2, seed=0, most=100)
        counts = np.bincount(labels[fit])
        assert counts.tolist() == [67, 34, 1]
        assert 90 < len(held) < 110
        assert not set(fit) & set(held)
