import numpy as np

from simclr_keras.evaluation import accuracy


def _oracle(scores, labels, k):
    hits = 0
    for row, label in zip(scores, labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        hits += label in order[:k] and row[label] > accuracy.NEVER
    return hits / len(labels)


class TestTopK:
    def test_equals_sorting(self):
        rng = np.random.default_rng(0)
        # Few values, so that there are ties.
        scores = rng.integers(0, 5, (200, 8)).astype(np.float32)
        labels = rng.integers(0, 8, 200)
        for k in (1, 3, 5):
            expected = _oracle(scores, labels, k)
            assert accuracy.top_k(scores, labels, k) == expected

    def test_class_that_is_no_prediction_is_a_miss(self):
        scores = np.full((2, 6), accuracy.NEVER, np.float32)
        scores[:, 5] = 1.0
        assert accuracy.top_k(scores, np.array([5, 0]), 5) == 0.5


class TestSummary:
    def test_values_by_hand(self):
        scores = np.eye(6, dtype=np.float32)[[0, 1, 2, 0]]
        result = accuracy.summary(scores, np.array([0, 1, 2, 3]))
        assert result == {
            "top1": 0.75,
            "top5": 1.0,
            "top1_standard_error": (0.75 * 0.25 / 4) ** 0.5,
            "num_examples": 4,
        }

    def test_no_top5_where_it_says_nothing(self):
        result = accuracy.summary(np.eye(5, dtype=np.float32), np.arange(5))
        assert result["top5"] is None
