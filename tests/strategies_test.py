"""R replicas equal one: losses, metrics, weights, checkpoints, precision."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from simclr_keras import training
from simclr_keras import training_state
from tests import replicas
from tests import small_run

ROOT = pathlib.Path(__file__).parent.parent
MIDDLE = small_run.STEPS // 2
# Sums in another order; float32 has 6e-8, and five layers pass it on.
TOLERANCE = 1e-5


class SaveInTheMiddle(keras.callbacks.Callback):
    def __init__(self, checkpoints):
        super().__init__()
        self.checkpoints = checkpoints

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == MIDDLE:
            self.checkpoints.save(MIDDLE)


def checkpoints_of(model, folder):
    return training_state.Checkpoints(folder, **training_state.state(model))


def run(strategy, folder):
    """A run of one epoch, with a checkpoint in its middle."""
    model = small_run.model(strategy)
    start = small_run.weights(model)
    steps = small_run.Steps()
    saver = SaveInTheMiddle(checkpoints_of(model, folder))
    batches = small_run.batches
    training.fit(
        model,
        lambda first, num: batches(strategy, first, num),
        0,
        small_run.STEPS,
        small_run.STEPS,
        [steps, saver],
    )
    return model, start, steps.logs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "one": run(None, folder / "one"),
        "two": run(replicas.mirrored(), folder / "two"),
        "folder": folder,
    }


class TestTwoReplicas:
    def test_every_metric_of_every_step(self, runs):
        ours, theirs = runs["two"][2], runs["one"][2]
        assert len(ours) == small_run.STEPS
        assert {"probe_top1", "learning_rate", "embedding_std"} <= set(ours[0])
        for log, expected in zip(ours, theirs, strict=True):
            assert small_run.largest_difference(log, expected) < TOLERANCE

    def test_weights_and_moving_statistics(self, runs):
        (one, start, _), (two, *_) = runs["one"], runs["two"]
        expected = small_run.weights(one)
        assert small_run.largest_difference(start, expected) > 0.01
        found = small_run.weights(two)
        assert small_run.largest_difference(found, expected) < TOLERANCE

    @pytest.mark.parametrize("before", ["one", "two"])
    def test_goes_on_with_another_number_of_replicas(self, runs, before):
        strategy = replicas.mirrored() if before == "one" else None
        model = small_run.model(strategy)
        checkpoints = checkpoints_of(model, runs["folder"] / before)
        assert checkpoints.restore() == MIDDLE
        steps = small_run.Steps()
        training.fit(
            model,
            lambda first, num: small_run.batches(strategy, first, num),
            MIDDLE,
            small_run.STEPS,
            small_run.STEPS,
            [steps],
        )
        whole, _, logs = runs["one"]
        for log, expected in zip(steps.logs, logs[MIDDLE:], strict=True):
            assert small_run.largest_difference(log, expected) < TOLERANCE
        found, expected = small_run.weights(model), small_run.weights(whole)
        assert small_run.largest_difference(found, expected) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "tolerance"),
    # Rounding of activations, 2 ** -9 and 2 ** -12, through five layers,
    # relative to the way that the weights went.
    [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)],
)
def test_low_precision(policy, tolerance):
    strategy = replicas.mirrored()
    # Keras' own first scale overflows here, and no step would be taken.
    settings = {"policy": policy}
    if policy == "mixed_float16":
        settings["optimizer"] = lambda: keras.optimizers.LossScaleOptimizer(
            small_run.lars(), initial_scale=128.0
        )
    one = small_run.model(**settings)
    two = small_run.model(strategy, **settings)
    start = np.concatenate([w.ravel() for w in small_run.weights(one)])
    small_run.trained(one)
    assert one.optimizer.iterations.numpy() == small_run.STEPS
    logs = small_run.trained(two, strategy)
    assert np.isfinite(logs[-1]["loss"])
    one, two = (
        np.concatenate([w.ravel() for w in small_run.weights(m)])
        for m in (one, two)
    )
    moved = np.linalg.norm(one - start)
    assert 0 < np.linalg.norm(two - one) < tolerance * moved


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_gradients_are_clipped_after_they_are_summed(clip):
    def sgd():
        return keras.optimizers.SGD(0.01, **{clip: 0.05})

    strategy = replicas.mirrored()
    one = small_run.model(optimizer=sgd)
    two = small_run.model(strategy, optimizer=sgd)
    # Gradients are up to a thousand times the clip, which so is nearly their
    # sign: a second step would blow up the rounding of the first.
    small_run.trained(one, num_steps=1)
    small_run.trained(two, strategy, num_steps=1)
    found, expected = small_run.weights(two), small_run.weights(one)
    assert small_run.largest_difference(found, expected) < TOLERANCE


def scaled(initial_scale):
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=initial_scale
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_an_overflow_in_float16_is_skipped_and_not_counted_as_loss(count):
    strategy = replicas.mirrored() if count == 2 else None
    model = small_run.model(
        strategy, policy="mixed_float16", optimizer=lambda: scaled(2.0**40)
    )
    before = small_run.weights(model)
    logs = small_run.trained(model, strategy, num_steps=2)
    assert model.optimizer.iterations.numpy() == 0
    assert model.optimizer.dynamic_scale.numpy() == 2.0**38
    assert np.isfinite(logs[-1]["loss"])
    trained = {id(w) for w in model.trainable_weights}
    for weight, old in zip(model.weights, before, strict=True):
        assert np.all(np.isfinite(weight.numpy()))
        if id(weight) in trained:
            np.testing.assert_array_equal(weight.numpy(), old)


FOUR = """
import json, sys
from simclr_keras import distribution
strategy = distribution.strategy("mirrored", 4)
from tests import small_run
results = {}
# The micro-batches of replicas have other rows than those of one, so that
# they agree without batch norm only.
micro = {"micro_batch_size": 2, "batch_norm": False}
for name, arguments in {"plain": {}, "micro": micro}.items():
    one = small_run.model(**arguments)
    four = small_run.model(strategy, **arguments)
    logs = [small_run.trained(one), small_run.trained(four, strategy)]
    results[name] = {
        "replicas": strategy.num_replicas_in_sync,
        "logs": max(map(small_run.largest_difference, *logs)),
        "weights": small_run.largest_difference(
            small_run.weights(one), small_run.weights(four)
        ),
    }
print(json.dumps(results))
"""


@pytest.mark.slow
def test_four_replicas_on_four_logical_devices():
    answer = subprocess.run(
        [sys.executable, "-c", FOUR],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        timeout=600,
    )
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout.splitlines()[-1])
    for result in results.values():
        assert result["replicas"] == 4
        assert result["logs"] < TOLERANCE
        assert result["weights"] < TOLERANCE
