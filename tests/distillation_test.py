"""Distillation: loss and gradient by the formula, and what stays as it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import simclr_keras
from simclr_keras import distribution
from simclr_keras import normalization
from simclr_keras.classifier import Classifier
from simclr_keras.data import pipelines
from simclr_keras.distillation import Distiller
from tests import replicas
from tests import small_run

NUM, CLASSES, SIZE = 6, 4, 2
# Half of the images have a label.
LABELS = np.array([0, -1, 3, -1, 1, -1], np.int32)


def linear(seed, classes=CLASSES, size=SIZE, **arguments):
    """Logits that are linear in the pixels."""
    images = keras.Input([size, size, 3])
    init = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    dense = keras.layers.Dense(
        classes, use_bias=False, kernel_initializer=init, **arguments
    )
    return keras.Model(images, dense(keras.layers.Flatten()(images)))


def images(num=NUM, size=SIZE):
    rng = np.random.default_rng(0)
    return rng.uniform(size=[num, size, size, 3]).astype(np.float32)


def distiller(*, optimizer=None, **arguments):
    model = Distiller(linear(1), linear(2), **arguments)
    model.compile(optimizer or keras.optimizers.SGD(1.0), run_eagerly=True)
    return model


def expected(model, x, labels, temperature, alpha):
    """Loss, and the gradient that is descended by the kernel, in NumPy."""
    x = x.reshape(len(x), -1).astype(np.float64)
    t, s = (
        x @ part.get_weights()[0].astype(np.float64)
        for part in (model.teacher, model.student)
    )
    taught = special.softmax(t / temperature, axis=1)
    labelled = labels[:, None] >= 0
    one_hot = 1.0 * (labels[:, None] == np.arange(CLASSES))
    soft = -taught * special.log_softmax(s / temperature, axis=1)
    hard = -one_hot * special.log_softmax(s, axis=1)
    loss = (alpha * soft + (1 - alpha) * hard).sum() / len(x)
    by_logits = alpha * temperature * (
        special.softmax(s / temperature, axis=1) - taught
    ) + (1 - alpha) * (labelled * special.softmax(s, axis=1) - one_hot)
    return loss, x.T @ by_logits / len(x)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
class TestFormula:
    def test_loss_and_gradient(self, temperature, alpha):
        model = distiller(temperature=temperature, alpha=alpha)
        before = model.student.get_weights()[0]
        loss, gradient = expected(model, images(), LABELS, temperature, alpha)
        log = model.train_on_batch(images(), LABELS, return_dict=True)
        assert log["loss"] == pytest.approx(loss, rel=1e-5)
        step = before - model.student.get_weights()[0]
        np.testing.assert_allclose(step, gradient, atol=1e-5)

    def test_evaluation_has_the_same_loss(self, temperature, alpha):
        model = distiller(temperature=temperature, alpha=alpha)
        loss, _ = expected(model, images(), LABELS, temperature, alpha)
        log = model.evaluate(images(), LABELS, return_dict=True, verbose=0)
        assert log["loss"] == pytest.approx(loss, rel=1e-5)


class TestAlpha:
    def step(self, teacher=1, labels=LABELS, **arguments):
        model = Distiller(linear(teacher), linear(2), **arguments)
        model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
        model.train_on_batch(images(), labels)
        return model.student.get_weights()[0]

    def test_one_does_not_look_at_labels(self):
        found = self.step(labels=LABELS[::-1])
        np.testing.assert_array_equal(found, self.step(labels=None))

    def test_zero_does_not_look_at_the_teacher(self):
        found = self.step(teacher=5, alpha=0.0)
        np.testing.assert_array_equal(found, self.step(alpha=0.0))

    def test_zero_is_supervised_training(self):
        labels = np.maximum(LABELS, 0)
        student = linear(2)
        student.compile(
            keras.optimizers.SGD(1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        student.train_on_batch(images(), labels)
        found = self.step(labels=labels, alpha=0.0)
        np.testing.assert_allclose(found, student.get_weights()[0], atol=1e-6)

    def test_below_one_needs_labels(self):
        with pytest.raises(ValueError, match="`alpha` below 1 needs labels"):
            self.step(labels=None, alpha=0.5)


class TestLearning:
    def test_self_distillation_approaches_the_teacher(self):
        model = distiller(optimizer=keras.optimizers.Adam(0.2))
        x, logs = images(64), []
        for _ in range(30):
            model.reset_metrics()
            logs.append(model.train_on_batch(x, return_dict=True))
        first, *_, last = logs
        # Cross-entropy less entropy is the divergence from the teacher.
        started, ended = (
            log["loss"] - log["teacher_entropy"] for log in (first, last)
        )
        assert 0 <= ended < started / 5
        assert last["teacher_agreement"] > first["teacher_agreement"] + 0.2

    def test_a_copy_of_the_teacher_has_nothing_to_learn(self):
        model = distiller(temperature=0.5)
        model.student.set_weights(model.teacher.get_weights())
        before = model.student.get_weights()[0]
        log = model.train_on_batch(images(), return_dict=True)
        assert log["loss"] == pytest.approx(log["teacher_entropy"], rel=1e-5)
        assert log["teacher_agreement"] == 1
        after = model.student.get_weights()[0]
        np.testing.assert_allclose(after, before, atol=1e-6)

    def test_metrics_by_hand(self):
        model = distiller(temperature=2.0)
        x = images().reshape(NUM, -1)
        t, s = (
            x @ part.get_weights()[0] for part in (model.teacher, model.student)
        )
        p = special.softmax(t / 2.0, axis=1)
        log = model.train_on_batch(images(), LABELS, return_dict=True)
        entropy = special.entr(p).sum(axis=1).mean()
        assert log["teacher_entropy"] == pytest.approx(entropy, rel=1e-5)
        agreement = np.mean(t.argmax(axis=1) == s.argmax(axis=1))
        assert log["teacher_agreement"] == pytest.approx(agreement)
        top1 = np.mean(s.argmax(axis=1)[::2] == LABELS[::2])
        assert log["top1"] == pytest.approx(top1)
        assert "top1" not in distiller().train_on_batch(
            images(), return_dict=True
        )


def with_batch_norm(seed, policy="float32"):
    """Convolution, batch norm whose statistics move, mean, logits."""
    init = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    x = inputs = keras.Input([small_run.SIZE, small_run.SIZE, 3])
    x = keras.layers.Conv2D(6, 3, kernel_initializer=init, dtype=policy)(x)
    x = normalization.BatchNormalization(dtype=policy)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=policy)(
        keras.layers.ReLU(dtype=policy)(x)
    )
    dense = keras.layers.Dense(3, kernel_initializer=init, dtype=policy)
    return keras.Model(inputs, dense(x))


def crop_and_flip(size=small_run.SIZE):
    return simclr_keras.augmenter(
        size,
        blur=False,
        jitter_probability=0.0,
        grayscale_probability=0.0,
        jit_compile=False,
    )


class TestTeacher:
    def test_stays_bit_identical_with_its_statistics(self):
        teacher, student = with_batch_norm(1), with_batch_norm(2)
        model = Distiller(teacher, student, augmenter=crop_and_flip())
        model.compile(keras.optimizers.SGD(0.5))
        before = [w.numpy() for w in (*teacher.weights, *student.weights)]
        model.fit(images(12, small_run.SIZE), batch_size=4, verbose=0)
        count = len(teacher.weights)
        for weight, old in zip(teacher.weights, before[:count], strict=True):
            np.testing.assert_array_equal(weight.numpy(), old)
        assert all(
            np.any(weight.numpy() != old)
            for weight, old in zip(student.weights, before[count:], strict=True)
            # Before a batch norm a bias has no gradient but rounding.
            if "conv2d" not in weight.path or "kernel" in weight.path
        )

    def test_is_no_part_of_the_model(self):
        model = Distiller(with_batch_norm(1), with_batch_norm(2))
        assert [w.path for w in model.weights] == [
            w.path for w in model.student.weights
        ]
        assert all(w.trainable for w in model.teacher.trainable_weights)

    def test_sees_the_view_that_the_student_sees(self):
        model = Distiller(
            linear(1, size=8), linear(2, size=8), augmenter=crop_and_flip(8)
        )
        model.student.set_weights(model.teacher.get_weights())
        model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        log = model.train_on_batch(images(size=8), return_dict=True)
        assert log["loss"] == pytest.approx(log["teacher_entropy"], rel=1e-5)


class TestViews:
    def test_follow_from_seed_and_step(self):
        one, same, other = (
            Distiller(
                linear(1, size=8),
                linear(2, size=8),
                augmenter=crop_and_flip(8),
                seed=seed,
            )
            for seed in (0, 0, 1)
        )
        for model in (one, same, other):
            model.compile(keras.optimizers.SGD(0.1))
        x = tf.constant(images(size=8))
        view = one._views(x)
        np.testing.assert_array_equal(view, same._views(x))
        assert np.any(view != other._views(x))
        one.optimizer.iterations.assign(1)
        assert np.any(view != one._views(x))

    @pytest.mark.parametrize("augmenter", [None, crop_and_flip(8)])
    def test_made_beforehand(self, augmenter):
        model = Distiller(
            linear(1, size=8), linear(2, size=8), augmenter=augmenter
        )
        model.compile(keras.optimizers.SGD(0.1))
        x = images(size=8)
        np.testing.assert_allclose(model._views(x[:, None]), x, atol=1e-6)


def run(strategy):
    """An epoch of a small run under a strategy; the model, and its logs."""
    with distribution.scope(strategy):
        model = Distiller(
            with_batch_norm(1),
            with_batch_norm(2),
            augmenter=crop_and_flip(),
            temperature=0.5,
            alpha=0.6,
        )
        model.compile(keras.optimizers.SGD(0.5, 0.9))
    start = small_run.weights(model)
    split = small_run.split()

    def batches(*shares):
        return pipelines.pretraining(
            split,
            small_run.BATCH,
            image_size=small_run.SIZE,
            seed=3,
            num_steps=small_run.STEPS,
            replicas=shares,
            num_views=1,
        )

    steps = small_run.Steps()
    model.fit(
        distribution.per_replica(strategy, batches),
        steps_per_epoch=small_run.STEPS,
        callbacks=[steps],
        shuffle=False,
        verbose=0,
    )
    return model, start, steps.logs


def test_two_replicas_equal_one():
    one, start, logs = run(None)
    two, _, theirs = run(replicas.mirrored())
    assert {"loss", "top1", "learning_rate"} <= set(logs[0])
    for log, other in zip(logs, theirs, strict=True):
        assert small_run.largest_difference(log, other) < 1e-5
    weights = small_run.weights(one)
    assert small_run.largest_difference(start, weights) > 0.01
    # Sums in another order.
    found = small_run.weights(two)
    assert small_run.largest_difference(found, weights) < 1e-5


@pytest.mark.parametrize(
    # Rounding of activations, 2 ** -9 and 2 ** -12, through three layers.
    ("policy", "tolerance"),
    [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)],
)
def test_mixed_precision(policy, tolerance):
    moved = {}
    for name in ("float32", policy):
        keras.config.set_dtype_policy(name)
        model = Distiller(with_batch_norm(1), with_batch_norm(2, name))
        model.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
        before = model.student.get_weights()
        log = model.train_on_batch(images(12, small_run.SIZE), return_dict=True)
        assert np.isfinite(log["loss"])
        moved[name] = np.concatenate(
            [
                np.ravel(new - old)
                for new, old in zip(
                    model.student.get_weights(), before, strict=True
                )
            ]
        )
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    error = np.linalg.norm(moved[policy] - moved["float32"])
    assert error < tolerance * np.linalg.norm(moved["float32"])


def test_overflow_is_skipped_and_not_counted():
    keras.config.set_dtype_policy("mixed_float16")
    scaler = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1.0), initial_scale=1e30
    )
    model = distiller(optimizer=scaler)
    huge = np.full_like(images(), 1e30)
    before = model.student.get_weights()[0]
    log = model.train_on_batch(huge, return_dict=True)
    assert log["loss"] == 0
    np.testing.assert_array_equal(model.student.get_weights()[0], before)


def test_encoder_of_the_student_is_saved(tmp_path):
    student = Classifier(linear(2, 5), CLASSES)
    model = Distiller(linear(1), student)
    simclr_keras.save_encoder(model, tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        loaded(images()), student.encoder(images()), rtol=1e-5
    )
    assert model.classifier is student.classifier


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"temperature": 0}, "`temperature` must be greater.*=0"),
            ({"temperature": -1.0}, "`temperature` must be greater.*=-1.0"),
            ({"alpha": 1.5}, "`alpha` must be from 0 to 1.*=1.5"),
            ({"alpha": float("nan")}, "`alpha` must be from 0 to 1.*=nan"),
        ],
    )
    def test_numbers_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            distiller(**arguments)

    def test_other_classes(self):
        with pytest.raises(ValueError, match="same classes.*7.*and.*4"):
            Distiller(linear(1, 7), linear(2))

    def test_no_logits(self):
        maps = keras.Sequential(
            [keras.Input([2, 2, 3]), keras.layers.Conv2D(CLASSES, 1)]
        )
        with pytest.raises(ValueError, match="logits"):
            Distiller(maps, linear(2))

    def test_a_teacher_that_would_be_trained(self):
        model = linear(1)
        with pytest.raises(ValueError, match="weights of its own.*kernel"):
            Distiller(model, model)
