"""Calls of `fit` keep epochs and steps in their place."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import training


class TestCalls:
    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            ((0, 10, 5), [(0, 0, 2, 5)]),
            ((0, 12, 5), [(0, 0, 2, 5), (10, 2, 3, 2)]),
            ((7, 21, 5), [(7, 1, 2, 3), (10, 2, 4, 5), (20, 4, 5, 1)]),
            ((6, 8, 5), [(6, 1, 2, 2)]),
            ((0, 3, 5), [(0, 0, 1, 3)]),
            ((5, 5, 5), []),
        ],
    )
    def test_by_hand(self, steps, expected):
        assert training.calls(*steps) == expected


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = []
        self.steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


@pytest.mark.parametrize(("first", "last"), [(0, 11), (3, 11), (7, 8)])
def test_every_step_once_in_its_epoch(first, last):
    asked = []

    def batches(step, num_steps):
        asked.extend(range(step, step + num_steps))
        x = np.ones([num_steps, 1], np.float32)
        return tf.data.Dataset.from_tensor_slices((x, x)).batch(1)

    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", jit_compile=False)
    recorder = Recorder()
    training.fit(model, batches, first, last, 4, [recorder])
    assert asked == list(range(first, last))
    assert recorder.steps == last - first
    assert recorder.epochs == list(range(first // 4, (last - 1) // 4 + 1))


class TestMetrics:
    X = np.arange(11, dtype=np.float32)[:, None]

    def model(self):
        model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse", jit_compile=False)
        # The values of one batch make the losses of all steps differ.
        model.optimizer.learning_rate.assign(0.0)
        return model

    def losses(self, model, first, last):
        found = []

        class Losses(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                found.append(logs["loss"])

        def batches(step, num_steps):
            x = self.X[step : step + num_steps]
            return tf.data.Dataset.from_tensor_slices((x, x)).batch(1)

        training.fit(model, batches, first, last, 4, [Losses()])
        return found

    def test_means_of_an_interrupted_epoch_go_on(self):
        model = self.model()
        whole = self.losses(model, 0, 11)
        assert len(set(whole)) > 8
        begun = self.losses(model, 0, 6)
        # The metrics are as step 6 left them.
        assert begun + self.losses(model, 6, 11) == whole

    def test_a_whole_epoch_starts_from_nothing(self):
        model = self.model()
        whole = self.losses(model, 0, 11)
        self.losses(model, 0, 4)
        assert self.losses(model, 4, 11) == whole[4:]
