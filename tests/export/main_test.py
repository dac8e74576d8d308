import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import conversion
from simclr_keras import preprocessing
from simclr_keras.export import __main__
from tests import google_checkpoints

SIZE, FEATURES, CLASSES = 12, 3, 2


@pytest.fixture
def run(tmp_path):
    """A directory as a finished run leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    inputs = keras.Input((SIZE, SIZE, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, outputs).save(folder / "encoder.keras")
    config = {"flags": {"image_size": SIZE}, "dataset": {"name": "noise"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def exports(monkeypatch):
    """What would be exported: the flags' values and the path."""
    calls = []
    monkeypatch.setattr(__main__, "_export", lambda *call: calls.append(call))
    monkeypatch.setattr(__main__, "_report", lambda *_: "")
    return calls


def save_probe(path):
    kernel = np.arange(FEATURES * CLASSES, dtype=np.float32)
    np.savez(
        path,
        kernel=kernel.reshape(FEATURES, CLASSES),
        bias=np.zeros(CLASSES, np.float32),
        class_names=["cat", "dog"],
    )


def export(*arguments):
    __main__.main(["simclr-export", *map(str, arguments)])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as raised:
        export(*arguments)
    assert raised.value.code == 2
    return capsys.readouterr().err


class TestMain:
    def test_exports_a_run(self, run, capsys):
        save_probe(run / "linear_probe.npz")
        export(f"--model_dir={run}")
        path = run / "saved_model" / "1"
        signatures = tf.saved_model.load(path).signatures
        images = np.random.default_rng(0).random((2, 20, 20, 3), np.float32)
        answer = signatures["embed"](images=tf.constant(images))
        expected = preprocessing.preprocess(images, SIZE)
        np.testing.assert_allclose(
            answer["embedding"], np.mean(expected, (1, 2)), rtol=1e-5
        )
        assert "classify" in signatures
        metadata = json.loads((path / "metadata.json").read_text())
        assert metadata["class_names"] == ["cat", "dog"]
        assert metadata["provenance"] == {"dataset": {"name": "noise"}}
        printed = capsys.readouterr().out
        assert f"Wrote {path}" in printed
        assert "embedding float32 [B, 3]" in printed
        assert "tensorflow/serving" in printed

    def test_a_file_becomes_the_next_version(self, run, tmp_path, exports):
        encoder, probe = run / "encoder.keras", tmp_path / "probe.npz"
        save_probe(probe)
        (tmp_path / "served" / "4").mkdir(parents=True)
        export(
            f"--encoder={encoder}",
            f"--image_size={SIZE}",
            f"--output={tmp_path / 'served'}",
            f"--linear_probe={probe}",
        )
        ((values, path),) = exports
        assert path == tmp_path / "served" / "5"
        assert values["encoder"] == encoder
        assert values["linear_probe"] == probe
        assert values["image_size"] == SIZE

    def test_a_run_without_a_probe(self, run, tmp_path, exports):
        path = tmp_path / "served" / "7"
        export(f"--model_dir={run}", f"--output={path}", "--image_size=16")
        ((values, given),) = exports
        assert given == path
        assert values["encoder"] == run / "encoder.keras"
        assert values["linear_probe"] is None
        assert values["image_size"] == 16

    def test_older_versions_are_deleted(self, run, exports, capsys):
        for version in ("1", "2", "3"):
            folder = run / "saved_model" / version
            folder.mkdir(parents=True)
            (folder / "metadata.json").touch()
        export(f"--model_dir={run}", "--keep_versions=2")
        assert "Deleted version 1." in capsys.readouterr().out
        export(f"--model_dir={run}")
        left = [path.name for path in (run / "saved_model").iterdir()]
        assert sorted(left) == ["2", "3"]

    def test_a_checkpoint_of_google(self, tmp_path, capsys):
        google = tmp_path / "google"
        google_checkpoints.write_tf2(google_checkpoints.tiny(), google)
        export(
            f"--encoder={google}",
            f"--image_size={SIZE}",
            f"--output={tmp_path / 'served'}",
            "--ft_proj_selector=1",
        )
        path = tmp_path / "served" / "1"
        signatures = tf.saved_model.load(path).signatures
        images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32)
        converted = conversion.from_google(google)
        features = converted.encoder(images, training=False)
        hidden = simclr_keras.heads.head_outputs(converted.projection_head)
        logits = converted.linear_probe(hidden(features, training=False)[1])
        answer = signatures["classify"](images=tf.constant(images))
        np.testing.assert_allclose(
            answer["probabilities"], tf.nn.softmax(logits), atol=1e-5
        )
        printed = capsys.readouterr().out
        assert "Read ResNet-18, width 0.0625" in printed


class TestMistakes:
    def test_existing_version(self, run, capsys):
        path = run / "saved_model" / "1"
        path.mkdir(parents=True)
        message = refused(capsys, f"--model_dir={run}", f"--output={path}")
        assert f"--output={path} exists" in message
        assert f"next free version is {path.with_name('2')}" in message

    @pytest.mark.parametrize(
        "missing,message",
        [
            ("encoder.keras", "--model_dir: there is no file"),
            ("config.json", "give --image_size"),
        ],
    )
    def test_unfinished_run(self, run, capsys, missing, message):
        (run / missing).unlink()
        assert message in refused(capsys, f"--model_dir={run}")

    def test_no_model_file(self, run, capsys):
        (run / "encoder.keras").write_text("no model")
        assert "is no .keras file" in refused(capsys, f"--model_dir={run}")
        with zipfile.ZipFile(run / "encoder.keras", "w") as archive:
            archive.writestr("readme.txt", "another archive")
        assert "is no .keras file" in refused(capsys, f"--model_dir={run}")

    def test_no_encoder(self, tmp_path, capsys):
        (tmp_path / "encoder.keras").write_text("no model")
        output = ("--image_size=8", f"--output={tmp_path / 'served'}")
        for name, problem in (
            ("encoder.keras", "which is no checkpoint"),
            ("nowhere", "which does not exist"),
        ):
            path = tmp_path / name
            message = refused(capsys, f"--encoder={path}", *output)
            assert f"Received: {path}, {problem}" in message

    def test_selector_without_google(self, run, capsys):
        message = refused(capsys, f"--model_dir={run}", "--ft_proj_selector=1")
        assert "--ft_proj_selector: only for Google" in message

    def test_missing_probe(self, run, capsys):
        message = refused(
            capsys, f"--model_dir={run}", "--linear_probe=/nowhere.npz"
        )
        assert "--linear_probe: there is no file /nowhere.npz" in message

    def test_output_inside_a_model(self, run, capsys):
        model = run / "saved_model" / "1"
        model.mkdir(parents=True)
        (model / "saved_model.pb").touch()
        message = refused(
            capsys, f"--model_dir={run}", f"--output={model / 'more'}"
        )
        assert "must not lie inside a SavedModel" in message

    def test_output_is_a_file(self, run, capsys):
        output = run / "config.json"
        message = refused(capsys, f"--model_dir={run}", f"--output={output}")
        assert "not a directory" in message

    def test_wrong_image_size(self, run, capsys):
        message = refused(capsys, f"--model_dir={run}", "--image_size=13")
        assert "`image_size` must be what the encoder takes" in message
        assert not (run / "saved_model").exists()
