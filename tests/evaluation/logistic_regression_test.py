import keras
import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import logistic_regression
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import Features
from tests.evaluation import small


def _standardized(x, other):
    deviation = x.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, np.sqrt(np.mean(deviation**2)))
    return ((part - x.mean(axis=0)) / scale for part in (x, other))


def _softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _oracle(x, labels, C):
    """Minimises sum of cross entropies + |W|^2 / 2C, in float64."""
    width = x.shape[1]
    one_hot = np.eye(labels.max() + 1)[labels]

    def loss(flat):
        weights = flat.reshape(width + 1, -1)
        p = _softmax(x @ weights[:-1] + weights[-1])
        value = -np.sum(one_hot * np.log(p)) + np.sum(weights[:-1] ** 2) / 2 / C
        gradient = x.T @ (p - one_hot) + weights[:-1] / C
        bias = np.sum(p - one_hot, axis=0)
        return value, np.vstack([gradient, bias]).ravel()

    start = np.zeros((width + 1) * one_hot.shape[1])
    result = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-8}
    )
    return result.x.reshape(width + 1, -1)


class TestFit:
    def test_equals_a_plain_minimisation(self):
        train = small.clusters(300, 4)
        # Scales and offsets as different as those of features can be.
        x = train.x * np.float32([1, 10, 0.1, 3, 1e-4, 1]) + 5
        probe = linear_probe.fit(Features(x, train.labels), C=0.5)
        scaled, _ = _standardized(x, x)
        weights = _oracle(scaled, train.labels, 0.5)
        expected = _softmax(scaled @ weights[:-1] + weights[-1])
        # Tolerance: where L-BFGS stops, a gradient of 1e-4 per example.
        np.testing.assert_allclose(
            _softmax(probe.logits(x)), expected, atol=5e-3
        )

    @pytest.mark.parametrize("num_classes", [2, 3, 10])
    def test_predictions_equal_those_of_scikit_learn(self, num_classes):
        train = small.clusters(400, num_classes, noise=1.5)
        test = small.clusters(300, num_classes, noise=1.5, seed=1)
        probe = linear_probe.fit(train, C=1.0)
        x, xt = _standardized(train.x, test.x)
        model = LogisticRegression(C=1.0, max_iter=1000)
        model.fit(x.astype(np.float32), train.labels)
        logits = probe.logits(test.x)
        np.testing.assert_array_equal(logits.argmax(1), model.predict(xt))
        np.testing.assert_allclose(
            _softmax(logits), model.predict_proba(xt), atol=1e-4
        )

    def test_labels_with_gaps_keep_their_columns(self):
        train = small.clusters(300, 3)
        apart = np.array([1, 4, 6])[train.labels]
        probe = linear_probe.fit(Features(train.x, apart), C=1.0, num_classes=9)
        plain = linear_probe.fit(train, C=1.0)
        assert probe.kernel.shape == (6, 9)
        np.testing.assert_array_equal(
            probe.logits(train.x)[:, [1, 4, 6]], plain.logits(train.x)
        )
        np.testing.assert_array_equal(
            probe.logits(train.x)[:, [0, 2, 3, 5, 7, 8]], accuracy.NEVER
        )

    def test_a_collapsed_encoder_gives_the_commonest_class(self):
        labels = np.array([0, 1, 1, 1])
        probe = linear_probe.fit(Features(np.ones((4, 3), np.float32), labels))
        assert probe.logits(np.ones((1, 3), np.float32)).argmax() == 1

    def test_a_rarely_active_feature_is_not_blown_up(self):
        train = small.clusters(300, 3)
        x = train.x.copy()
        x[:, 0] = 0
        x[0, 0] = 1e-3
        probe = linear_probe.fit(Features(x, train.labels), C=1.0)
        assert abs(probe.kernel[0]).max() < abs(probe.kernel[1:]).max()

    def test_c_is_that_of_the_best_validation_accuracy(self):
        train, _ = small.digits()
        probe = linear_probe.fit(train, seed=4)
        rows, held = subsets.validation_split(
            train.labels, 0.2, seed=4, most=10_000
        )
        x, _ = _standardized(train.x, train.x)
        scores = []
        for C in linear_probe.C_GRID:
            model = LogisticRegression(C=C, max_iter=1000)
            model.fit(x[rows], train.labels[rows])
            scores.append(model.score(x[held], train.labels[held]))
        assert probe.C == linear_probe.C_GRID[int(np.argmax(scores))]
        assert probe.num_validation == len(held)
        assert probe.num_train == 1400

    def test_of_equal_accuracies_the_smallest_c_is_taken(self):
        probe = linear_probe.fit(small.clusters(600, 3, noise=0.1))
        assert probe.num_validation > 0
        assert probe.C == linear_probe.C_GRID[0]

    def test_c_is_not_chosen_on_a_handful(self):
        probe = linear_probe.fit(small.clusters(400, 3))
        assert (probe.C, probe.num_validation) == (linear_probe.DEFAULT_C, 0)

    def test_same_seed_same_probe(self):
        train = small.clusters(600, 3)
        first, again = (linear_probe.fit(train, seed=1) for _ in range(2))
        np.testing.assert_array_equal(first.kernel, again.kernel)
        np.testing.assert_array_equal(first.bias, again.bias)

    def test_says_when_it_did_not_converge(self, monkeypatch, recwarn):
        assert linear_probe.fit(small.clusters(300, 3), C=1.0).converged
        monkeypatch.setattr(logistic_regression, "_MAX_ITERATIONS", 2)
        probe = linear_probe.fit(small.clusters(300, 3), C=1.0)
        assert not probe.converged
        assert probe.iterations == 2
        assert not recwarn.list

    def test_wrong_arguments(self):
        train = small.clusters(50, 3)
        with pytest.raises(ValueError, match="`C` must be.*Received: C=0"):
            linear_probe.fit(train, C=0)
        with pytest.raises(ValueError, match="`features` must have labels"):
            linear_probe.fit(Features(train.x, None))
        with pytest.raises(ValueError, match="`features` must have labels fr"):
            linear_probe.fit(Features(train.x, train.labels - 1))


class TestProbe:
    @pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
    def test_keras_model_gives_the_same_logits(self, policy):
        keras.config.set_dtype_policy(policy)
        train = small.clusters(300, 4)
        probe = linear_probe.fit(train, C=1.0, num_classes=6)
        logits = probe.to_keras()(train.x)
        assert logits.dtype == "float32"
        np.testing.assert_allclose(
            logits[:, :4], probe.logits(train.x)[:, :4], atol=1e-5
        )
        probabilities = keras.ops.softmax(logits).numpy()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities[:, 4:], 0)

    # Keras' own warning about NumPy 2, while it saves.
    @pytest.mark.filterwarnings("ignore:__array__ impl")
    def test_keras_model_survives_saving(self, tmp_path):
        train = small.clusters(100, 3)
        model = linear_probe.fit(train, C=1.0).to_keras()
        model.save(tmp_path / "probe.keras")
        loaded = keras.models.load_model(tmp_path / "probe.keras")
        np.testing.assert_array_equal(loaded(train.x), model(train.x))
