"""Checkpoints come back exactly, and damaged ones are passed over."""

import logging
import resource

import keras
import numpy as np
import pytest

from simclr_keras import training_state
from simclr_keras.training_state import Checkpoints


def trained(steps):
    """A small model after some updates, and data to go on with."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(3, name="dense")
    model = keras.Sequential([keras.Input([2]), layer], name="model")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[8, 4, 2]), rng.normal(size=[8, 4, 3])
    for step in range(steps):
        model.train_on_batch(x[step], y[step])
    return model, x, y


def checkpoints(folder, model, max_to_keep=5):
    return Checkpoints(folder, max_to_keep, **training_state.state(model))


class TestRoundTrip:
    def test_training_goes_on_as_if_nothing_had_happened(self, tmp_path):
        model, x, y = trained(3)
        checkpoints(tmp_path, model).save(3)
        other, *_ = trained(1)
        assert checkpoints(tmp_path, other).restore() == 3
        for step in range(3, 6):
            model.train_on_batch(x[step], y[step])
            other.train_on_batch(x[step], y[step])
        for a, b in zip(
            model.variables + model.optimizer.variables,
            other.variables + other.optimizer.variables,
            strict=True,
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy())

    def test_nothing_to_restore(self, tmp_path):
        model, *_ = trained(0)
        assert checkpoints(tmp_path / "none", model).restore() == 0

    def test_keeps_the_newest(self, tmp_path):
        model, *_ = trained(0)
        kept = checkpoints(tmp_path, model, max_to_keep=2)
        for step in (1, 5, 10, 20):
            kept.save(step)
        assert kept.steps() == [10, 20]

    def test_saving_a_step_again_replaces_it(self, tmp_path):
        model, x, y = trained(1)
        kept = checkpoints(tmp_path, model)
        kept.save(1)
        model.train_on_batch(x[1], y[1])
        kept.save(1)
        other, *_ = trained(0)
        checkpoints(tmp_path, other).restore()
        np.testing.assert_array_equal(
            model.variables[0].numpy(), other.variables[0].numpy()
        )

    def test_equal_paths(self, tmp_path):
        layers = [keras.layers.Dense(2, name="dense") for _ in range(2)]
        parts = [keras.Sequential([keras.Input([2]), x]) for x in layers]

        class Pair(keras.Model):
            def __init__(self):
                super().__init__()
                self.parts = parts
                self.built = True

        pair = Pair()
        pair.compile("sgd")
        assert pair.weights[0].path.endswith("dense/kernel")
        before = [w.numpy() for w in pair.weights]
        saved = Checkpoints(tmp_path, **training_state.state(pair))
        saved.save(1)
        for weight in pair.weights:
            weight.assign(weight * 0 + 7)
        saved.restore()
        for value, weight in zip(before, pair.weights, strict=True):
            np.testing.assert_array_equal(value, weight.numpy())


def truncate(folder):
    path = folder / "checkpoint.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(folder):
    path = folder / "checkpoint.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose_a_file(folder):
    (folder / "checkpoint.index").unlink()


def lose_the_checksums(folder):
    (folder / "sha256.json").unlink()


def garble_the_checksums(folder):
    (folder / "sha256.json").write_text('{"checkpoint.index": "12')


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            truncate,
            flip_a_bit,
            lose_a_file,
            lose_the_checksums,
            garble_the_checksums,
        ],
    )
    def test_the_one_before_is_used_and_the_damaged_one_named(
        self, tmp_path, damage, caplog
    ):
        model, *_ = trained(0)
        kept = checkpoints(tmp_path, model)
        kept.save(1)
        kept.save(2)
        damage(tmp_path / "step_2")
        with caplog.at_level(logging.WARNING):
            assert kept.restore() == 1
        assert "step_2 is damaged" in caplog.text

    def test_what_a_killed_save_leaves_is_no_checkpoint(self, tmp_path):
        model, *_ = trained(0)
        kept = checkpoints(tmp_path, model)
        kept.save(1)
        (tmp_path / ".step_2.4711").mkdir()
        (tmp_path / "step_2.tmp").mkdir()
        assert kept.steps() == [1]
        assert kept.restore() == 1
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"step_1", "step_2.tmp"}

    def test_a_full_disk_leaves_the_one_before(self, tmp_path):
        model, *_ = trained(0)
        kept = checkpoints(tmp_path, model)
        kept.save(1)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Python ignores the signal, so that a write fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(OSError, match="of step 2 cannot be written: "):
                kept.save(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
        assert kept.restore() == 1
        kept.save(2)
        assert kept.steps() == [1, 2]


class TestReadWeights:
    def test_by_path(self, tmp_path):
        model, *_ = trained(2)
        # A name with what TensorFlow escapes in it.
        layer = keras.layers.Dense(3, name="a.Sb..c.S")
        model = keras.Sequential([keras.Input([2]), *model.layers, layer])
        model.compile("sgd")
        checkpoints(tmp_path, model).save(2)
        found = training_state.read_weights(tmp_path / "step_2")
        assert set(found) == {weight.path for weight in model.weights}
        for weight in model.weights:
            np.testing.assert_array_equal(found[weight.path], weight.numpy())

    def test_damaged(self, tmp_path):
        model, *_ = trained(0)
        checkpoints(tmp_path, model).save(2)
        truncate(tmp_path / "step_2")
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            training_state.read_weights(tmp_path / "step_2")
