import json

import numpy as np
import pytest

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import compare
from simclr_keras.evaluation import knn
from simclr_keras.evaluation.features import Features
from tests.evaluation import small


def _oracle(train, test, k, temperature, num_classes):
    """Votes of the protocol, one test embedding at a time, in float64."""
    bank = train.x.astype(np.float64)
    norms = np.maximum(np.linalg.norm(bank, axis=1), 1e-300)
    votes = np.zeros((len(test.x), num_classes))
    for i, query in enumerate(test.x.astype(np.float64)):
        length = max(np.linalg.norm(query), 1e-300)
        similarity = bank @ query / norms / length
        for j in np.argsort(-similarity)[:k]:
            weight = np.exp((similarity[j] - similarity.max()) / temperature)
            votes[i, train.labels[j]] += weight
    return votes


def _accuracies(votes, labels):
    votes = np.where(votes > 0, votes, accuracy.NEVER).astype(np.float32)
    return accuracy.top_k(votes, labels, 1), accuracy.top_k(votes, labels, 5)


class TestEvaluate:
    @pytest.mark.parametrize(
        ("k", "temperature"), [(1, 0.1), (7, 0.07), (50, 0.1), (300, 1e-4)]
    )
    def test_equals_the_oracle(self, k, temperature):
        train = small.clusters(300, 8, noise=1.5)
        test = small.clusters(150, 8, noise=1.5, seed=1)
        result = knn.evaluate(train, test, k=k, temperature=temperature)
        votes = _oracle(train, test, k, temperature, 8)
        expected = _accuracies(votes, test.labels)
        assert (result["top1"], result["top5"]) == expected
        assert 0.2 < result["top1"] < 1

    def test_votes_equal_the_oracle(self):
        train = small.clusters(300, 8, noise=1.5)
        test = small.clusters(150, 8, noise=1.5, seed=1)
        votes = knn._votes(train, test.x, 20, 0.1, 8)
        expected = _oracle(train, test, 20, 0.1, 8)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            np.where(votes > accuracy.NEVER, votes, 0), expected, atol=1e-5
        )

    def test_length_of_an_embedding_does_not_matter(self):
        train, test = small.clusters(200, 6), small.clusters(90, 6, seed=1)
        lengths = np.random.default_rng(0).uniform(0.1, 9, (200, 1))
        scaled = Features((train.x * lengths).astype("float32"), train.labels)
        assert knn.evaluate(scaled, test) == knn.evaluate(train, test)

    def test_zero_embeddings_have_no_similarity(self):
        x = np.float32([[0, 0], [1, 0.1], [-1, 0]])
        train = Features(x, np.array([0, 1, 2]))
        test = Features(
            np.float32([[1, 0], [0.1, 1], [0, 0]]), np.zeros(3, int)
        )
        votes = knn._votes(train, test.x, 3, 0.1, 3)
        expected = _oracle(train, test, 3, 0.1, 3)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(votes, expected, atol=1e-6)

    def test_class_without_a_vote_is_a_miss(self):
        train, test = small.clusters(300, 8), small.clusters(100, 8, seed=1)
        result = knn.evaluate(train, test, k=1)
        assert result["top5"] == result["top1"]

    def test_k_above_the_training_set_is_told(self):
        train = small.clusters(60, 3)
        result = knn.evaluate(train, train, k=200)
        assert result["k"] == 60
        assert "60, all training examples, instead of 200" in result["notice"]
        assert knn.evaluate(train, train, k=60)["notice"] is None

    def test_labels_with_gaps_and_unseen_classes(self):
        train = small.clusters(300, 3)
        apart = Features(train.x, np.array([1, 4, 6])[train.labels])
        test = Features(train.x, np.where(apart.labels == 6, 7, apart.labels))
        result = knn.evaluate(apart, test, num_classes=9)
        plain = knn.evaluate(train, train)
        seen = train.labels < 2
        known = Features(train.x[seen], train.labels[seen])
        share = knn.evaluate(train, known)["top1"] * np.mean(seen)
        assert result["unseen_classes"] == [7]
        assert result["top1"] == pytest.approx(share)
        assert plain["num_classes"] == 3

    def test_result_is_json_and_repeatable(self):
        train, test = small.clusters(200, 6), small.clusters(90, 6, seed=1)
        result = knn.evaluate(train, test)
        assert result == knn.evaluate(train, test)
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        assert "200 nearest of 200 training" in result["protocol"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"k": 0}, "`k` must be at least 1. Received: k=0"),
            ({"temperature": 0.0}, "`temperature` must be greater than 0"),
            ({"num_classes": 2}, "`test` must have labels from 0 to 1"),
        ],
    )
    def test_wrong_arguments(self, arguments, message):
        train = small.clusters(50, 3)
        with pytest.raises(ValueError, match=message):
            knn.evaluate(train, train, **arguments)


class TestRun:
    def test_raw_pixels_of_digits(self):
        train, test = small.digit_datasets()
        pixels = compare.raw_pixels(8)
        result = knn.run(pixels, train, test, k=5, temperature=0.07)
        assert 0.97 < result["top1"] < 1
        assert result["num_train"] == 1400

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_unlabelled_data_is_named(self, name):
        data = dict(zip(("train", "test"), small.digit_datasets(), strict=True))
        data[name] = data[name].map(lambda images, labels: images)
        with pytest.raises(ValueError, match=f"`{name}` must have labels"):
            knn.run(small.encoder(), **data)
