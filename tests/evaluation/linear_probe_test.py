import json
import statistics

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from simclr_keras.evaluation import compare
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import Features
from tests.evaluation import small


class TestRun:
    def test_raw_pixels_of_digits(self):
        train, test = small.digit_datasets()
        pixels = compare.raw_pixels(8, grayscale=True)
        result = linear_probe.run(pixels, train, test)
        assert 0.955 < result["top1"] < 0.985
        assert result["top5"] > 0.99
        assert result["num_examples"] == 397
        assert result["num_train"] == 1400
        assert result["num_features"] == 64
        assert result["num_classes"] == 10
        assert result["seeds"] == [0]
        assert result["converged"]
        assert "1,400 labelled examples" in result["protocol"]

    def test_few_labels_of_digits(self):
        train, test = small.digit_datasets()
        pixels = compare.raw_pixels(8, grayscale=True)
        five, ten = (
            linear_probe.run(pixels, train, test, labels_per_class=k)
            for k in (5, 10)
        )
        assert 0.80 < five["top1"] < ten["top1"] < 0.95
        assert (five["num_train"], ten["num_train"]) == (50, 100)

    def test_leaves_the_encoder_bit_identical(self):
        encoder = small.encoder()
        before = [w.numpy().tobytes() for w in encoder.weights]
        train, test = small.digit_datasets(200, 50)
        result = linear_probe.run(encoder, train, test)
        assert 0.3 < result["top1"] <= 1
        assert [w.numpy().tobytes() for w in encoder.weights] == before

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_unlabelled_data_is_named(self, name):
        data = dict(zip(("train", "test"), small.digit_datasets(), strict=True))
        data[name] = data[name].map(lambda images, labels: images)
        with pytest.raises(ValueError, match=f"`{name}` must have labels"):
            linear_probe.run(small.encoder(), **data)


class TestEvaluate:
    def test_few_labels_by_hand(self):
        train = small.clusters(500, 7, noise=2.0)
        test = small.clusters(300, 7, noise=2.0, seed=1)
        result = linear_probe.evaluate(
            train, test, labels_per_class=6, seeds=(3, 5, 8)
        )
        top1 = []
        for seed in (3, 5, 8):
            rows = subsets.per_class(train.labels, 6, seed=seed)
            labels = train.labels[rows]
            # The statistics of all training embeddings, not of the few.
            deviation = train.x.std(axis=0, dtype=np.float64)
            scale = np.maximum(deviation, np.sqrt(np.mean(deviation**2)))
            x = (train.x[rows] - train.x.mean(axis=0)) / scale
            xt = (test.x - train.x.mean(axis=0)) / scale
            model = LogisticRegression(max_iter=1000).fit(x, labels)
            top1.append(model.score(xt, test.labels))
        np.testing.assert_allclose(result["top1_draws"], top1, atol=1e-9)
        deviation = statistics.stdev(top1)
        assert result["top1"] == pytest.approx(statistics.fmean(top1))
        assert result["top1_std"] == pytest.approx(deviation)
        assert result["top1_standard_error"] == pytest.approx(
            deviation / 3**0.5
        )
        assert result["seeds"] == [3, 5, 8]
        assert result["num_train"] == 42
        assert result["labels_per_class"] == 6
        assert result["C"] == linear_probe.DEFAULT_C

    def test_given_probe_is_not_fitted_again(self):
        train, test = small.clusters(600, 6), small.clusters(300, 6, seed=1)
        probe = linear_probe.fit(train)
        with_probe = linear_probe.evaluate(train, test, probe=probe)
        assert with_probe == linear_probe.evaluate(train, test)
        scores = probe.logits(test.x).argmax(axis=1) == test.labels
        assert with_probe["top1"] == scores.mean()

    def test_probe_of_other_classes_is_refused(self):
        train = small.clusters(300, 6)
        probe = linear_probe.fit(train, C=1.0)
        with pytest.raises(ValueError, match=r"`probe` must be.*\(6, 6\)"):
            linear_probe.evaluate(train, train, num_classes=8, probe=probe)

    @pytest.mark.parametrize("labels_per_class", [None, 4])
    def test_same_seeds_same_result_and_json(self, labels_per_class):
        train, test = small.clusters(600, 6), small.clusters(90, 6, seed=1)
        first, again = (
            linear_probe.evaluate(
                train, test, labels_per_class=labels_per_class
            )
            for _ in range(2)
        )
        assert first == again
        assert json.loads(json.dumps(first, allow_nan=False)) == first

    def test_classes_that_only_the_test_set_has_are_missed(self):
        train, whole = small.clusters(300, 7), small.clusters(200, 7, seed=1)
        keep = train.labels < 5
        train = Features(train.x[keep], train.labels[keep])
        result = linear_probe.evaluate(train, whole)
        assert result["unseen_classes"] == [5, 6]
        assert result["num_classes"] == 7
        # Five classes are left to predict, so top-5 is all that can be right.
        assert result["top5"] == np.mean(whole.labels < 5)

    def test_one_draw_has_no_spread(self):
        train = small.clusters(300, 3)
        result = linear_probe.evaluate(
            train, train, labels_per_class=5, seeds=[2]
        )
        assert result["top1_std"] is None
        assert result["top1_standard_error"] is None
        assert result["top5"] is None

    @pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
    def test_wrong_seeds(self, seeds):
        train = small.clusters(50, 3)
        with pytest.raises(ValueError, match="`seeds` must be"):
            linear_probe.evaluate(train, train, seeds=seeds)

    def test_too_few_examples_of_a_class(self):
        train = small.clusters(50, 3)
        with pytest.raises(ValueError, match="`labels_per_class` must be at m"):
            linear_probe.evaluate(train, train, labels_per_class=40)
