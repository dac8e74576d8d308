"""Weights of another run are taken where names and shapes agree."""

import numpy as np
import pytest

import simclr_keras
from simclr_keras import initialization
from simclr_keras import training_state
from tests import google_checkpoints


def model(seed=0, width=0.125, out_dim=8, num_classes=None):
    import keras

    keras.utils.set_random_seed(seed)
    encoder = simclr_keras.resnet(
        depth=18, width=width, stem="cifar", image_size=8
    )
    head = simclr_keras.projection_head(
        features=encoder.output_shape[-1], layers=2, out_dim=out_dim
    )
    made = simclr_keras.SimCLR(
        encoder, head, simclr_keras.augmenter(8), num_classes=num_classes
    )
    made.compile(simclr_keras.LARS(0.1))
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Another run's folder, and its model."""
    folder = tmp_path_factory.mktemp("run")
    other = model(seed=1)
    checkpoints = training_state.Checkpoints(
        folder / "checkpoints", **training_state.state(other)
    )
    checkpoints.save(3)
    other.weights[0].assign(other.weights[0] + 1.0)
    checkpoints.save(7)
    simclr_keras.save_encoder(other, folder / "encoder.keras")
    return folder, other


def assert_equal(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy())


def test_the_newest_checkpoint_of_a_run(run):
    folder, other = run
    new = model()
    optimizer = [v.numpy() for v in new.optimizer.variables]
    taken = initialization.init_from(new, folder)
    assert_equal(new.weights, other.weights)
    assert len(taken.taken) == len(new.weights) and not taken.skipped
    for before, variable in zip(
        optimizer, new.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(before, variable.numpy())


def test_one_checkpoint(run):
    folder, other = run
    new = model()
    initialization.init_from(new, folder / "checkpoints" / "step_3")
    np.testing.assert_allclose(new.weights[0] + 1.0, other.weights[0])
    assert_equal(new.weights[1:], other.weights[1:])


def test_an_encoder_leaves_the_head_as_it_is(run):
    folder, other = run
    new = model()
    head = [w.numpy() for w in new.projection_head.weights]
    taken = initialization.init_from(new, folder / "encoder.keras")
    assert_equal(new.encoder.weights, other.encoder.weights)
    for before, weight in zip(head, new.projection_head.weights, strict=True):
        np.testing.assert_array_equal(before, weight.numpy())
    assert len(taken.taken) == len(new.encoder.weights)
    assert "projection1_dense" in str(taken) and "(not there)" in str(taken)


def test_other_shapes_are_skipped_and_named(run):
    folder, _ = run
    taken = initialization.init_from(model(out_dim=16, num_classes=3), folder)
    text = str(taken)
    total = len(taken.taken) + len(taken.skipped)
    assert text.startswith(f"weights taken: {len(taken.taken)} of {total}; ")
    assert "projection2_dense (shape [64, 8] instead of [64, 16])" in text
    assert "linear_probe (not there)" in text


def test_a_folder_with_an_encoder_only(run, tmp_path):
    _, other = run
    simclr_keras.save_encoder(other, tmp_path / "encoder.keras")
    new = model()
    initialization.init_from(new, tmp_path)
    assert_equal(new.encoder.weights, other.encoder.weights)


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    """A checkpoint of Google's, and its variables."""
    folder = tmp_path_factory.mktemp("google")
    variables = google_checkpoints.tiny(width=0.125)
    google_checkpoints.write_tf2(variables, folder, training=False)
    return folder, variables


def test_a_checkpoint_of_google(google):
    folder, variables = google
    new = model(num_classes=3)
    taken = initialization.init_from(new, folder)
    first = next(v for v in variables if "/initial_conv" in v.key)
    np.testing.assert_array_equal(
        new.encoder.get_layer("stem_conv").kernel, first.value
    )
    assert not {w.path for w in new.encoder.weights} - set(taken.taken)
    assert "linear_probe/kernel" in taken.skipped


class TestMistakes:
    def test_another_encoder_of_google(self, google):
        new = model(width=0.25)
        before = new.weights[0].numpy()
        with pytest.raises(ValueError, match="the encoder of the model") as e:
            initialization.init_from(new, google[0])
        assert f"{google[0]}, with ResNet-18, width 0.125" in str(e.value)
        np.testing.assert_array_equal(before, new.weights[0].numpy())

    def test_one_file_of_a_checkpoint_of_google(self, google):
        with pytest.raises(ValueError, match="common name, .*ckpt-7$"):
            initialization.init_from(model(), google[0] / "ckpt-7.index")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match="where there are no weights"):
            initialization.init_from(model(), tmp_path)

    def test_nothing_that_fits(self, run):
        folder, _ = run
        other = model(width=0.25, out_dim=16)
        weights = {w.path: w.numpy() for w in other.weights}
        with pytest.raises(ValueError, match="with none of them"):
            initialization.init_from(other, folder)
        for weight in other.weights:
            np.testing.assert_array_equal(weights[weight.path], weight.numpy())

    def test_a_damaged_checkpoint(self, run, tmp_path):
        import shutil

        copy = tmp_path / "step_7"
        shutil.copytree(run[0] / "checkpoints" / "step_7", copy)
        (copy / "checkpoint.index").unlink()
        with pytest.raises(ValueError, match="index is missing"):
            initialization.init_from(model(), copy)
