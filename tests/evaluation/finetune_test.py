"""Training with labels on digits, with an encoder too small to be good."""

import json

import keras
import numpy as np
import pytest

from simclr_keras.data import open_source
from simclr_keras.data import pipelines
from simclr_keras.data import splits
from simclr_keras.evaluation import finetune
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import linear_sgd
from tests import replicas
from tests.evaluation import small

SIZE = 8


@pytest.fixture(scope="module")
def digits():
    source = open_source("digits")
    return source.train, pipelines.evaluation(source.test, 256, SIZE)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return small.encoder(SIZE, features=16)


FEW = {
    "labels_per_class": 10,
    "seeds": (3, 4),
    "train_steps": 200,
    "learning_rate": 1.0,
    "flip_probability": 0.0,
}


@pytest.fixture(scope="module")
def few(digits, encoder):
    """The result, the model, and the encoder's weights from before."""
    before = [w.numpy() for w in encoder.weights]
    return *finetune.run_with_model(encoder, *digits, **FEW), before


class TestRun:
    def test_learns(self, few):
        result, *_ = few
        assert len(result["top1_draws"]) == 2
        assert min(result["top1_draws"]) > 0.3

    def test_has_the_keys_of_a_linear_probe(self, few, digits, encoder):
        result, *_ = few
        clusters = (small.clusters(50, 3), small.clusters(50, 3, seed=1))
        probe = linear_probe.evaluate(*clusters, labels_per_class=2)
        assert set(probe) - set(result) == {"C", "converged"}
        assert result["num_train"] == 100
        assert result["num_examples"] == 360
        assert result["seeds"] == [3, 4]
        assert result["top1"] == pytest.approx(np.mean(result["top1_draws"]))
        spread = np.std(result["top1_draws"], ddof=1)
        assert result["top1_std"] == pytest.approx(spread)
        assert result["top1_standard_error"] == pytest.approx(
            spread / np.sqrt(2)
        )
        for words in ("whole encoder trained", "200 steps", "2 fits"):
            assert words in result["protocol"]
        assert result["train_steps"] == 200
        assert result["train_batch_size"] == 100
        assert json.loads(json.dumps(result)) == result

    def test_the_model_is_that_of_the_first_seed(self, few, digits):
        result, model, _ = few
        images, labels = map(np.concatenate, zip(*digits[1], strict=True))
        top1 = np.mean(np.argmax(model(images), axis=1) == labels)
        assert top1 == pytest.approx(result["top1_draws"][0])

    def test_the_encoder_it_starts_from_stays(self, few, encoder):
        _, model, before = few
        for old, weight in zip(before, encoder.weights, strict=True):
            np.testing.assert_array_equal(old, weight.numpy())
        assert all(
            weight.trainable
            for layer in encoder.layers
            for weight in layer.trainable_weights
        )
        kernel = model.encoder.get_layer(encoder.layers[1].name).kernel
        assert np.any(kernel.numpy() != before[0])


class TestFit:
    """What is handed to the function that trains."""

    def fits(self, digits, encoder, **settings):
        """(first batch of images, plan, model) of each fit, which is none."""
        seen = []

        def fit(model, batches, steps, seed):
            seen.append((next(iter(batches(0, 1))), steps, model))

        finetune.run(encoder, *digits, fit=fit, **settings)
        return seen

    def test_seed_decides_labels_order_and_classifier(self, digits, encoder):
        one, two, again = (
            self.fits(digits, encoder, labels_per_class=5, seeds=[seed])[0]
            for seed in (0, 1, 0)
        )
        for ours, equal in ((two, False), (again, True)):
            (images, labels), _, model = ours
            assert np.array_equal(images, one[0][0]) == equal
            assert np.array_equal(labels, one[0][1]) == equal
            assert (
                np.array_equal(
                    model.classifier.get_weights()[0],
                    one[2].classifier.get_weights()[0],
                )
                == equal
            )

    def test_labels_per_class(self, digits, encoder):
        (_, labels), steps, _ = self.fits(digits, encoder, labels_per_class=5)[
            0
        ]
        assert np.bincount(labels).tolist() == [5] * 10
        assert steps == (50, 61, 1, 0)

    def test_fraction_and_schedule(self, digits, encoder):
        [(_, steps, model)] = self.fits(
            digits,
            encoder,
            label_fraction=0.1,
            train_batch_size=16,
            train_epochs=10,
            warmup_epochs=1,
            learning_rate=0.5,
            learning_rate_scaling="sqrt",
        )
        num = sum(round(0.1 * n) for n in np.bincount(digits[0].labels))
        per_epoch = num // 16
        assert steps == (16, num * 10 // 16 + 1, per_epoch, per_epoch)
        schedule = model.optimizer._learning_rate
        assert float(schedule(0)) == 0.0
        assert float(schedule(per_epoch)) == pytest.approx(2.0)
        assert float(schedule(steps.num_steps)) == pytest.approx(0, abs=1e-6)

    def test_a_frozen_encoder_that_moves_is_an_error(self, digits, encoder):
        def fit(model, *_):
            model.encoder.layers[1].kernel.assign_add(
                0 * model.encoder.layers[1].kernel + 1
            )

        with pytest.raises(ValueError, match="must stay as it is"):
            finetune.run(encoder, *digits, fit=fit, fine_tune_after_block=4)


def test_replicas_train_as_one(digits, encoder):
    one, two = (
        finetune.fine_tuned(
            encoder,
            digits[0],
            10,
            train_steps=3,
            train_batch_size=32,
            learning_rate=1.0,
            strategy=strategy,
        )
        for strategy in (None, replicas.mirrored())
    )
    moved = 0.0
    for ours, other, before in zip(
        one.encoder.weights, two.encoder.weights, encoder.weights, strict=True
    ):
        # Rounding of sums over rows in another order, over three steps.
        np.testing.assert_allclose(ours, other, atol=1e-5)
        moved = max(moved, np.abs(ours - before).max())
    assert moved > 1e-3
    np.testing.assert_allclose(
        one.classifier.get_weights()[0],
        two.classifier.get_weights()[0],
        atol=1e-5,
    )


class TestLinearSgd:
    def test_is_the_paper_s(self, digits, encoder):
        def fit(model, batches, steps, seed):
            found.append((steps, float(model.optimizer.learning_rate)))
            assert model.frozen_weights == model.encoder.weights
            assert model.optimizer.nesterov and not model.optimizer.decay

        found = []
        result = linear_sgd.run(encoder, *digits, train_batch_size=512, fit=fit)
        [(steps, rate)] = found
        assert rate == pytest.approx(0.1 * 512 / 256)
        assert steps.num_steps == 1437 * 90 // 512 + 1
        assert result["protocol"].startswith(
            "training with labels: the whole encoder frozen"
        )
        assert result["fine_tune_after_block"] == 4


class TestMistakes:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"labels_per_class": 5, "label_fraction": 0.1},
                "`label_fraction` must be None.*labels_per_class=5",
            ),
            ({"labels_per_class": 5000}, "at most the number of examples"),
            ({"label_fraction": 0}, "`share` must be above 0"),
            ({"seeds": []}, "`seeds` must be one or more"),
            ({"num_classes": 5}, "`train` must have labels from 0 to 4"),
            ({"warmup_epochs": 61}, "`warmup_steps` must be"),
            ({"optimizer": "sgd"}, "`name` must be one of"),
        ],
    )
    def test_settings(self, digits, encoder, settings, message):
        with pytest.raises(ValueError, match=message):
            finetune.run(encoder, *digits, **settings)

    def test_no_labels(self, digits, encoder):
        bare = splits.ArraySplit(np.zeros([9, SIZE, SIZE, 3], np.uint8))
        with pytest.raises(ValueError, match="`train` must have labels"):
            finetune.run(encoder, bare, digits[1])
        images = digits[1].map(lambda image, _: image)
        with pytest.raises(ValueError, match="`test` must have labels"):
            finetune.run(encoder, digits[0], images)
