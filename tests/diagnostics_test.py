"""Each cause is warned about once, and a healthy run not at all."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import diagnostics
from simclr_keras import heads
from simclr_keras.simclr import SimCLR

BATCH = 256
CHANCE = math.log(2 * BATCH - 1)
# Means of ten steps each of a run on the digits with their recipe's settings,
# 30 epochs of 5 steps, the warm-up of 33 steps included: loss and spread.
HEALTHY = """
    6.884 .552  6.507 .461  6.446 .367  6.238 .324  6.199 .306  6.002 .302
    5.749 .299  5.690 .307  5.603 .312  5.545 .319  5.434 .325  5.382 .329
    5.298 .330  5.350 .331  5.208 .332  5.277 .332  5.260 .332
"""
STEPS_PER_EPOCH = 5


def healthy():
    """[170] losses, with the scatter that single steps had, and spreads."""
    means = np.array(HEALTHY.split(), float).reshape(-1, 2).repeat(10, axis=0)
    scatter = np.random.default_rng(0).normal(0, 0.1, len(means))
    return means[:, 0] + scatter, means[:, 1]


def watch(losses, stds=None, first_step=0, steps_per_epoch=7, **arguments):
    """Warnings of a run whose single steps have these losses."""
    warnings = []
    watcher = diagnostics.Diagnostics(
        BATCH,
        steps_per_epoch,
        first_step=first_step,
        warn=warnings.append,
        **arguments,
    )
    stds = np.full(len(losses), 0.3) if stds is None else stds
    for step in range(first_step, len(losses)):
        place = step % steps_per_epoch
        epoch = slice(step - place, step + 1)
        watcher.on_train_batch_end(
            place,
            {
                "loss": np.mean(losses[epoch]),
                "embedding_std": np.mean(stds[epoch]),
                "learning_rate": 3.0,
            },
        )
    return warnings


class TestLoss:
    def test_silent_on_a_healthy_run(self):
        losses, stds = healthy()
        assert watch(losses, stds, steps_per_epoch=STEPS_PER_EPOCH) == []

    def test_silent_on_a_slow_start(self):
        losses = np.concatenate([np.full(60, 9.0), np.full(200, 5.0)])
        assert watch(losses) == []

    def test_above_chance(self):
        [warning] = watch(np.full(400, CHANCE + 0.01))
        assert "--learning_rate" not in warning.partition("Likely")[0]
        assert "by step 100" in warning
        for name in ("lr_range_test", "color_jitter_strength", "temperature"):
            assert f"--{name}" in warning

    def test_just_below_chance(self):
        assert watch(np.full(400, CHANCE - 0.01)) == []

    def test_waits_for_a_quarter_of_the_warmup(self):
        losses = np.full(1000, CHANCE + 0.1)
        [warning] = watch(losses, warmup_steps=2000)
        assert "by step 500" in warning

    def test_rising(self):
        losses = np.concatenate([np.full(100, 5.0), np.full(300, 5.3)])
        [warning] = watch(losses)
        assert "5.300 over the 50 steps before step 150" in warning
        assert "5.000 at its lowest" in warning
        assert "--learning_rate to a third" in warning
        assert "3 now" in warning and "makes this 1," in warning

    def test_rising_slowly(self):
        slope = diagnostics.RISE / diagnostics.WINDOW / 4
        [warning] = watch(5 + slope * np.arange(600))
        assert "the loss rises" in warning

    def test_level_with_scatter_does_not_rise(self):
        losses = np.random.default_rng(0).normal(5.0, 0.15, 20_000)
        assert watch(losses) == []

    def test_a_rise_above_chance_is_called_a_rise(self):
        losses = np.concatenate([np.full(100, 5.0), np.full(300, CHANCE + 1)])
        [warning] = watch(losses)
        assert "the loss rises" in warning

    @pytest.mark.parametrize("first_step", range(99, 104))
    def test_resumed_inside_an_epoch(self, first_step):
        losses = np.concatenate([np.full(250, 5.0), np.full(150, 5.3)])
        # Of the epoch's steps so far there is only a mean.
        losses[98 : first_step + 1] = 500.0
        [warning] = watch(losses, first_step=first_step)
        assert "5.300" in warning and "5.000" in warning


class TestCollapse:
    def test_names_the_spread_and_the_flag(self):
        losses = np.full(300, CHANCE)
        stds = np.concatenate([np.full(100, 0.3), np.full(200, 0.01)])
        chance, collapse = watch(losses, stds)
        assert "collapsed" in collapse and "0.01" in collapse
        assert "--learning_rate" in collapse
        assert "nothing learnt" in chance

    def test_takes_precedence_over_its_effect_on_the_loss(self):
        [warning] = watch(np.full(300, CHANCE), np.zeros(300))
        assert "collapsed" in warning


class TestWaiting:
    def shares(self, monkeypatch, share, first=None):
        """Warnings of a run that waits for this share of each second."""
        now, clock = [0.0], type("Clock", (), {"seconds": 0.0})()
        timer = diagnostics.callbacks.time
        monkeypatch.setattr(timer, "perf_counter", lambda: now[0])
        warnings = []
        watcher = diagnostics.Diagnostics(
            BATCH, 7, wait_clock=clock, warn=warnings.append
        )
        logs = {"loss": 1.0, "embedding_std": 0.3, "learning_rate": 1.0}
        for step in range(200):
            now[0] += 1.0
            clock.seconds += first if first and step == 0 else share
            watcher.on_train_batch_end(step % 7, logs)
        return warnings

    def test_starving(self, monkeypatch):
        [warning] = self.shares(monkeypatch, 0.4)
        assert "40%" in warning
        assert "--image_size" in warning and "local disk" in warning

    def test_not_starving(self, monkeypatch):
        assert self.shares(monkeypatch, 0.3) == []

    def test_first_step_does_not_count(self, monkeypatch):
        assert self.shares(monkeypatch, 0.3, first=1e6) == []


class Noise:
    """Stands for an augmentation of a certain strength."""

    def __init__(self, strength):
        self.strength = strength

    def views(self, images, step):
        # As for finished views of the model: first views first.
        images = tf.cast(images, tf.float32) / 255
        other = images + self.strength * tf.random.uniform(images.shape)
        return tf.concat([images, other], axis=0)


def images(number=40):
    return np.random.default_rng(0).integers(
        0, 256, [number, 8, 8, 3], np.uint8
    )


def first_batch(batch, strength=0.5):
    warnings = []
    diagnostics.check_first_batch(Noise(strength), batch, warn=warnings.append)
    return warnings


class TestFirstBatch:
    def test_silent_on_a_good_one(self):
        assert first_batch(images()) == []

    def test_views_alike(self):
        [warning] = first_batch(images(), strength=0.0)
        assert "same in 100%" in warning
        for name in ("color_jitter_strength", "crop", "flip_probability"):
            assert f"--{name}" in warning

    def test_duplicates(self):
        batch = images()
        batch[:3] = batch[0]
        batch[10] = batch[11]
        [warning] = first_batch(batch)
        assert "12% of the 40 images" in warning
        assert "one of them 3 times" in warning
        assert "--dataset" in warning

    def test_few_duplicates_are_nothing_to_worry_about(self):
        batch = images()
        batch[1] = batch[0]
        assert first_batch(batch) == []

    def test_duplicates_by_number(self):
        warnings = []
        diagnostics.check_duplicates(np.array([5, 7, 7, 9]), warnings.append)
        [warning] = warnings
        assert "50% of the 4 images" in warning

    def test_finished_views(self):
        model = tiny_model()
        pair = np.random.default_rng(0).uniform(size=[4, 2, 8, 8, 3])
        pair = pair.astype(np.float32)
        warnings = []
        diagnostics.check_first_batch(model, pair, warn=warnings.append)
        assert warnings == []
        pair[:, 1] = pair[:, 0]
        diagnostics.check_first_batch(model, pair, warn=warnings.append)
        assert len(warnings) == 1


def tiny_model():
    encoder = keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Conv2D(6, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    head = heads.projection_head(features=6, layers=2, out_dim=4, seed=0)
    return SimCLR(encoder, head)


class TestFit:
    def test_absurd_learning_rate(self):
        model = tiny_model()
        model.compile(keras.optimizers.SGD(1e4), jit_compile=False)
        pairs = np.random.default_rng(0).uniform(size=[40, 2, 8, 8, 3])
        dataset = tf.data.Dataset.from_tensor_slices(pairs.astype(np.float32))
        dataset = dataset.batch(8, drop_remainder=True)
        warnings = []
        model.fit(
            dataset,
            epochs=24,
            shuffle=False,
            verbose=0,
            callbacks=[
                diagnostics.Diagnostics(8, 5, warn=warnings.append),
            ],
        )
        assert len(warnings) == 1
        assert "learning rate" in warnings[0].lower()


class TestPrinting:
    def test_goes_to_standard_error(self, capsys):
        diagnostics.print_warning("too hot")
        out, err = capsys.readouterr()
        assert (out, err) == ("", "warning: too hot\n")
