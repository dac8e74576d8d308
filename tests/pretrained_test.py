"""Encoders are found wherever a training left them, with their heads."""

import keras
import numpy as np
import pytest

import simclr_keras
from simclr_keras import pretrained
from simclr_keras import run_files
from simclr_keras import training_state
from tests import google_checkpoints
from tests.initialization_test import assert_equal
from tests.initialization_test import model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Another run's folder, and its model."""
    folder = tmp_path_factory.mktemp("run")
    other = model(seed=1, num_classes=3)
    checkpoints = training_state.Checkpoints(
        folder / "checkpoints", **training_state.state(other)
    )
    checkpoints.save(7)
    run_files.write_json(folder / "config.json", {"flags": {"image_size": 8}})
    return folder, other


def save(other, folder):
    simclr_keras.save_encoder(other, folder / "encoder.keras")
    simclr_keras.save_encoder(
        other.projection_head, folder / "projection_head.keras"
    )


def check(found, other):
    assert_equal(found.encoder.weights, other.encoder.weights)
    assert_equal(found.projection_head.weights, other.projection_head.weights)
    assert found.recognised.encoder["width"] == 0.125
    assert found.recognised.projection_head["out_dim"] == 8
    assert found.recognised.linear_probe is None
    assert found.image_size == 8
    assert "ResNet-18, width 0.125, cifar stem; projection head" in str(found)


class TestLoad:
    @pytest.mark.parametrize("path", ["", "checkpoints/step_7"])
    def test_of_a_checkpoint(self, run, path):
        found = pretrained.load(run[0] / path)
        check(found, run[1])
        assert found.origin.endswith("step_7")

    @pytest.mark.parametrize("path", ["", "encoder.keras"])
    def test_of_files(self, run, tmp_path, path):
        save(run[1], tmp_path)
        found = pretrained.load(tmp_path / path)
        check(found, run[1])
        assert found.origin == str(tmp_path / "encoder.keras")

    def test_without_a_head(self, run, tmp_path):
        simclr_keras.save_encoder(run[1], tmp_path / "a.keras")
        found = pretrained.load(tmp_path / "a.keras")
        assert found.projection_head is None
        assert found.recognised.projection_head is None

    def test_of_google(self, tmp_path):
        variables = google_checkpoints.tiny()
        google_checkpoints.write_tf1(variables, tmp_path / "model.ckpt-7")
        found = pretrained.load(tmp_path)
        assert found.image_size is None
        assert found.recognised.encoder["depth"] == 18
        assert found.recognised.linear_probe is None
        smaller = found.at_size(16)
        assert smaller.encoder.input_shape == (None, 16, 16, 3)
        assert_equal(smaller.encoder.weights, found.encoder.weights)
        assert smaller.at_size(16) is smaller

    def test_damage_is_named(self, run, tmp_path):
        save(run[1], tmp_path)
        whole = (tmp_path / "encoder.keras").read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", whole[:-10]):
            (tmp_path / "encoder.keras").write_bytes(damaged)
            with pytest.raises(ValueError, match="`path` must be a .*keras"):
                pretrained.load(tmp_path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match="`path` must be a .keras file, "):
            pretrained.load(tmp_path)

    def test_a_probe_alone_is_no_encoder(self, tmp_path):
        images = keras.Input([8, 6, 3])
        outputs = keras.layers.GlobalAveragePooling2D()(images)
        encoder = keras.Model(images, outputs)
        encoder.save(tmp_path / "a.keras")
        with pytest.raises(ValueError, match="square images.*8 x 6 pixels"):
            pretrained.load(tmp_path / "a.keras")


def test_variables_that_do_not_match_start_anew(run, tmp_path):
    save(run[1], tmp_path)
    found = pretrained.load(tmp_path)
    total = len(found.encoder.weights) + len(found.projection_head.weights)
    assert len(found.keep_matching(".*")) == total
    check(found, run[1])
    found.projection_head.layers[1].kernel.assign_add(
        np.ones_like(found.projection_head.layers[1].kernel)
    )
    before = found.projection_head.get_weights()
    kept = found.keep_matching(r"(?!global_step|(?:.*/|^)Momentum|head)")
    assert len(kept) == len(found.encoder.weights)
    assert all(name.startswith("base_model/") for name in kept)
    assert "base_model/stem_conv/kernel" in kept
    assert_equal(found.encoder.weights, run[1].encoder.weights)
    after = found.projection_head.get_weights()
    assert np.abs(after[0] - before[0]).min() > 0.5
