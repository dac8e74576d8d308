"""What is wrong with a checkpoint is one line that names its path."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.conversion.checkpoint import Checkpoint
from tests import golden
from tests import google_checkpoints

KEYS = golden.load_json("checkpoint_keys.json")


@pytest.fixture(scope="module")
def variables():
    return google_checkpoints.tiny()


def write(variables, folder):
    folder.mkdir()
    google_checkpoints.write_tf1(variables, folder / "model.ckpt-1")
    return folder


def refused(path, prefix=None):
    with pytest.raises(ValueError) as raised:
        Checkpoint(path)
    text = str(raised.value)
    assert text.startswith("`path` must be a checkpoint or SavedModel of ")
    assert f"Received: {prefix or path}, " in text and "\n" not in text
    return text.partition(f"{prefix or path}, ")[2]


class TestTf2:
    def test_has_the_keys_that_google_s_code_writes(self, tmp_path):
        """Also that optimizer, slots and step are no unknown variables."""
        kinds = min(KEYS.values(), key=lambda k: len(k["training"]["keys"]))
        rows = kinds["training"]["keys"]
        written = google_checkpoints.write_tf2(
            [
                google_checkpoints.Variable(None, key, np.zeros(shape, "f4"))
                for key, shape, _ in kinds["model_only"]["keys"]
                if key.startswith("model/")
            ],
            tmp_path,
        )
        found = dict(tf.train.list_variables(written))
        assert found == {key: shape for key, shape, _ in rows}
        settings = kinds["training"]["settings"]
        encoder = Checkpoint(tmp_path).recognised.encoder
        assert encoder["depth"] == settings["resnet_depth"]


class TestMistakes:
    def test_missing_variables(self, variables, tmp_path):
        lost = [v for v in variables if not v.tf1_name.endswith("_3/gamma")]
        folder = write(lost, tmp_path / "g")
        problem = refused(folder, folder / "model.ckpt-1")
        assert problem.startswith("recognised as ResNet-18, width 0.0625, ")
        assert problem.endswith("but without group1_block1_bn2/gamma")

    def test_missing_variables_of_tf2(self, variables, tmp_path):
        lost = [v for v in variables if "/3/layers/1/" not in v.key]
        google_checkpoints.write_tf2(lost, tmp_path, training=False)
        problem = refused(tmp_path, tmp_path / "ckpt-7")
        assert problem.startswith("with 2, 2, 2, 1 blocks of two convolutions")

    def test_many_are_counted(self, variables, tmp_path):
        lost = [
            v
            for v in variables
            if not v.key.endswith("moving_mean" + "/.ATTRIBUTES/VARIABLE_VALUE")
        ]
        folder = write(lost, tmp_path / "g")
        problem = refused(folder, folder / "model.ckpt-1")
        count = len(variables) - len(lost)
        assert problem.endswith(f" and {count - 5} more")

    def test_unknown_variables(self, variables, tmp_path):
        named = {v.tf1_name: v.value for v in variables}
        named["base_model/attention/kernel"] = np.zeros(3, np.float32)
        google_checkpoints.write_named(named, tmp_path / "ckpt-1")
        problem = refused(tmp_path, tmp_path / "ckpt-1")
        assert problem.endswith("but with unknown base_model/attention/kernel")

    def test_other_shapes(self, variables, tmp_path):
        named = {v.tf1_name: v.value for v in variables}
        named["head_supervised/linear_layer/dense/bias"] = np.zeros(7, "f4")
        google_checkpoints.write_named(named, tmp_path / "ckpt-1")
        problem = refused(tmp_path, tmp_path / "ckpt-1")
        assert "other shapes: linear_probe/bias [7] instead of [" in problem

    def test_no_stem(self, variables, tmp_path):
        lost = [v for v in variables if "/initial_conv" not in v.key]
        google_checkpoints.write_tf2(lost, tmp_path, training=False)
        assert "without the kernel" in refused(tmp_path, tmp_path / "ckpt-7")

    def test_another_model(self, tmp_path):
        checkpoint = tf.train.Checkpoint(bert=tf.Variable([1.0]))
        path = checkpoint.write(str(tmp_path / "ckpt-1"))
        assert refused(path) == "of another model, with bert"
        google_checkpoints.write_named({"a": np.ones(3)}, tmp_path / "b")
        assert refused(tmp_path / "b") == "of another model, with a"

    def test_pooled_twice(self, tmp_path):
        models = golden.load_json("variables.json")["models"].values()
        (model,) = [
            m
            for m in models
            if m["settings"]["resnet_depth"] == 18
            and m["settings"].get("sk_ratio")
        ]
        folder = write(
            [
                google_checkpoints.Variable(name, key, np.zeros(shape, "f4"))
                for name, shape, _, key in model["variables"]
                if name.startswith("resnet/")
            ],
            tmp_path / "g",
        )
        problem = refused(folder, folder / "model.ckpt-1")
        assert problem.startswith("a TF1 ResNet-18") and "pools" in problem


class TestDamage:
    @pytest.fixture
    def folder(self, variables, tmp_path):
        return write(variables, tmp_path / "g")

    @pytest.mark.parametrize("truncated", [True, False])
    def test_of_the_data(self, folder, truncated):
        prefix = folder / "model.ckpt-1"
        path = folder / "model.ckpt-1.data-00000-of-00001"
        content = bytearray(path.read_bytes())
        if truncated:
            # The model's own variables come before most of the others.
            content = content[: len(content) // 8]
        else:
            content[100] ^= 1
        path.write_bytes(content)
        checkpoint = Checkpoint(folder)
        with pytest.raises(ValueError, match="which is damaged") as raised:
            for path in checkpoint.shapes:
                checkpoint.value(path)
        text = str(raised.value)
        assert f"Received: {prefix}, " in text and "\n" not in text

    def test_of_the_index(self, folder):
        prefix = folder / "model.ckpt-1"
        path = folder / "model.ckpt-1.index"
        path.write_bytes(path.read_bytes()[:500])
        assert refused(folder, prefix).startswith("which is damaged (")
