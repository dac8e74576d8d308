"""LARS against Google's, step by step, and what it leaves out."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import optimizers
from simclr_keras.optimizers import LARS
from simclr_keras.schedules import WarmupCosine
from tests import golden

RECORDED = golden.npz("lars.npz")
CONFIGURATIONS = sorted(
    k for k in RECORDED if k.startswith("cfg") and "_" not in k
)
NAMES = [str(n) for n in RECORDED["var_names"]]


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    """The recorded learning rate of each step."""

    def __call__(self, step):
        return tf.gather(RECORDED["learning_rates"], tf.cast(step, tf.int32))


def google_arguments(configuration):
    """Google's optimizer arguments in our words."""
    given = golden.text(RECORDED[configuration])
    given["nesterov"] = given.pop("use_nesterov")
    given["trust_coefficient"] = given.pop("eeta")
    given["exclude_vectors"] = False
    # An empty list means "as for decay" there and "adapt all" here.
    given["exclude_from_layer_adaptation"] = (
        given["exclude_from_layer_adaptation"] or None
    )
    return given


def variables():
    """Keras variables whose paths are the recorded names."""
    made = []
    for index, name in enumerate(NAMES):
        *scopes, last = name.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope, deduplicate=False))
            made.append(keras.Variable(RECORDED[f"v{index}_init"], name=last))
    return made


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_equals_google(configuration):
    weights = variables()
    assert all(n in w.path for n, w in zip(NAMES, weights, strict=True))
    lars = LARS(Rates(), **google_arguments(configuration))
    for step in range(len(RECORDED["learning_rates"])):
        gradients = [
            tf.constant(RECORDED[f"v{j}_grads"][step])
            for j in range(len(NAMES))
        ]
        lars.apply(gradients, weights)
        for j, weight in enumerate(weights):
            for found, kind in (
                (weight, "values"),
                (lars._slots[j], "momentum"),
            ):
                expected = RECORDED[f"{configuration}_v{j}_{kind}"][step]
                assert golden.relative_to_max(found.numpy(), expected) < 1e-5


class TestExclusions:
    def layer(self, name):
        layer = keras.layers.Dense(3, name=name)
        layer.build([None, 2])
        return layer

    def moved(self, layer, **arguments):
        """How far one update with unit gradients moves each weight."""
        before = [w.numpy() for w in layer.trainable_weights]
        lars = LARS(1.0, **arguments)
        lars.apply([tf.ones(w.shape) for w in layer.weights], layer.weights)
        return [
            b - w.numpy()
            for b, w in zip(before, layer.trainable_weights, strict=True)
        ]

    def test_vectors_move_by_the_plain_gradient(self):
        kernel, bias = self.moved(self.layer("dense"), weight_decay=0.1)
        np.testing.assert_allclose(bias, np.ones(3))
        assert np.all(np.abs(kernel) < 0.1)

    def test_linear_probe_is_decayed_but_not_adapted(self):
        layer = self.layer("linear_probe")
        kernel = layer.kernel.numpy()
        moved, _ = self.moved(layer, weight_decay=0.1)
        np.testing.assert_allclose(moved, 1 + 0.1 * kernel, rtol=1e-6)

    def test_empty_adaptation_list_adapts_every_matrix(self):
        layer = self.layer("linear_probe")
        kernel = layer.kernel.numpy()
        moved, _ = self.moved(
            layer, weight_decay=0.0, exclude_from_layer_adaptation=()
        )
        trust = 0.001 * np.linalg.norm(kernel) / np.sqrt(kernel.size)
        np.testing.assert_allclose(moved, trust, rtol=1e-4)


class TestMomentum:
    def test_is_nesterov_sgd_with_decay_in_the_gradient(self):
        weight = keras.Variable(np.array([[1.0, -2.0]], np.float32))
        sgd = optimizers.optimizer("momentum", 0.1, 0.9, weight_decay=0.01)
        w, v = weight.numpy().astype(np.float64), 0.0
        for gradient in ([[1.0, 0.5]], [[-0.3, 2.0]], [[0.0, 0.0]]):
            sgd.apply([tf.constant(gradient)], [weight])
            g = np.array(gradient) + 0.01 * w
            v = 0.9 * v + 0.1 * g
            w = w - (0.9 * v + 0.1 * g)
        np.testing.assert_allclose(weight.numpy(), w, rtol=1e-6)


@pytest.mark.parametrize("name", ["lars", "momentum", "adam", "adamw"])
def test_every_name_survives_serialisation_and_a_step(name):
    schedule = WarmupCosine(0.1, 0, 10)
    made = optimizers.optimizer(name, schedule, weight_decay=1e-4)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert copy.get_config() == made.get_config()
    weight = keras.Variable(np.ones([2, 2], np.float32))
    copy.apply([tf.ones([2, 2])], [weight])
    assert np.all(weight.numpy() < 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\)"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be >= 0"),
        ({"trust_coefficient": 0}, "`trust_coefficient` must be > 0"),
    ],
)
def test_lars_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        LARS(**arguments)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="`name` must be one of"):
        optimizers.optimizer("sgd", 0.1)
