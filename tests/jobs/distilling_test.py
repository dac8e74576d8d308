"""`--train_mode=distill` as a user runs it, with networks that are quick."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

import simclr_keras
from simclr_keras import data
from simclr_keras.data import pipelines
from simclr_keras.flags import catalogue
from simclr_keras.jobs import devices
from simclr_keras.jobs import distilling
from simclr_keras.jobs import finetuning
from tests import replicas
from tests.jobs import commands

QUICK = (
    "--train_mode=distill",
    "--train_steps=12",
    "--train_batch_size=64",
    "--checkpoint_steps=5",
    "--train_summary_steps=1",
    "--optimizer=adam",
    "--learning_rate=0.05",
    "--image_size=8",
)


def images_and_labels(name):
    split = getattr(data.open_source("digits"), name)
    batches = pipelines.evaluation(split, 256, commands.SIZE)
    return map(np.concatenate, zip(*batches, strict=True))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A file with a linear classifier of pixels, and its test accuracy."""
    pixels, labels = images_and_labels("train")
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(
        pixels.reshape(len(pixels), -1), labels
    )
    images = keras.Input([8, 8, 3])
    dense = keras.layers.Dense(10)
    model = keras.Model(images, dense(keras.layers.Flatten()(images)))
    dense.set_weights([fitted.coef_.T, fitted.intercept_])
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    model.save(path)
    pixels, labels = images_and_labels("test")
    return path, fitted.score(pixels.reshape(len(pixels), -1), labels)


@pytest.fixture(scope="module", autouse=True)
def _quick_student(tmp_path_factory):
    """An encoder whose layers have the same names every time."""
    folder = tmp_path_factory.mktemp("student")
    commands.write_run(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            simclr_keras,
            "resnet",
            lambda **_: simclr_keras.load_encoder(folder / "encoder.keras"),
        )
        yield


@pytest.fixture(scope="module")
def folder(taught, tmp_path_factory):
    """The folder of a whole run."""
    path = tmp_path_factory.mktemp("distilled") / "run"
    commands.run(
        *QUICK,
        f"--checkpoint={taught[0]}",
        f"--model_dir={path}",
        "--noexport",
    )
    return path


def parts(folder):
    """Encoder and classifier as a user of Keras loads them."""
    return [
        keras.models.load_model(folder / f"{name}.keras")
        for name in ("encoder", "classifier")
    ]


class TestRun:
    def test_results(self, folder, taught):
        results = json.loads((folder / "results.json").read_text())
        assert (results["num_train"], results["num_examples"]) == (1437, 360)
        found = {
            name: result["distill"]
            for name, result in results["representations"].items()
        }
        assert found["teacher"]["top1"] == pytest.approx(taught[1])
        assert found["teacher"]["num_parameters"] == 8 * 8 * 3 * 10 + 10
        student = found["student"]
        encoder, classifier = parts(folder)
        pixels, labels = images_and_labels("test")
        best = np.argmax(classifier(encoder(pixels)), axis=1)
        assert student["top1"] == pytest.approx(np.mean(best == labels))
        assert student["num_parameters"] == (
            encoder.count_params() + classifier.count_params()
        )
        assert (student["temperature"], student["train_steps"]) == (1.0, 12)

    def test_the_student_comes_closer_without_any_label(self, folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 12
        first, last = json.loads(lines[0]), json.loads(lines[-1])
        assert last["loss"] < first["loss"] - 0.03
        assert "top1" not in last

    def test_the_student_can_teach(self, folder):
        encoder, classifier = parts(folder)
        pixels, _ = images_and_labels("test")
        teacher = simclr_keras.teacher.load_teacher(folder, 8, num_classes=10)
        np.testing.assert_allclose(
            teacher(pixels), classifier(encoder(pixels)), atol=1e-4
        )


@pytest.mark.slow
def test_the_student_is_served(taught, tmp_path):
    commands.run(*QUICK, f"--checkpoint={taught[0]}", f"--model_dir={tmp_path}")
    encoder, classifier = parts(tmp_path)
    pixels, _ = images_and_labels("test")
    served = tf.saved_model.load(str(tmp_path / "saved_model" / "1"))
    found = served.signatures["classify"](images=pixels)["probabilities"]
    np.testing.assert_allclose(
        found, tf.nn.softmax(classifier(encoder(pixels))), atol=1e-5
    )


@pytest.mark.slow
def test_resume_is_exact(folder, taught, tmp_path, monkeypatch, capsys):
    arguments = (
        *QUICK,
        f"--checkpoint={taught[0]}",
        f"--model_dir={tmp_path}",
        "--mode=train",
        "--noexport",
    )
    commands.run_into_a_full_disk(monkeypatch, 10, *arguments)
    commands.run(*arguments)
    assert "resuming at step 5 of 12" in capsys.readouterr().out
    commands.assert_same_checkpoint(folder, tmp_path, 12)


def test_another_teacher_is_another_run(folder, taught, capsys):
    with pytest.raises(SystemExit):
        commands.run(
            *QUICK,
            f"--checkpoint={folder}",
            f"--model_dir={folder}",
            "--noexport",
        )
    assert "the weights of --checkpoint are not" in capsys.readouterr().err


@pytest.mark.slow
def test_two_replicas_equal_one(taught, tmp_path, monkeypatch):
    arguments = (*QUICK, f"--checkpoint={taught[0]}", "--noexport")
    commands.run(*arguments, f"--model_dir={tmp_path / 'one'}")
    monkeypatch.setattr(devices, "strategy", replicas.mirrored)
    commands.run(*arguments, f"--model_dir={tmp_path / 'two'}")
    for name in ("encoder", "classifier"):
        one, two = (
            keras.models.load_model(tmp_path / run / f"{name}.keras")
            for run in ("one", "two")
        )
        for ours, theirs in zip(one.weights, two.weights, strict=True):
            # Adam divides by what is small.
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


class TestImages:
    @pytest.fixture(scope="class")
    @classmethod
    def source(cls):
        return data.open_source("digits")

    def split(self, source, *arguments):
        for flag in catalogue.definitions().values():
            flag.unparse()
        simclr_keras.flags.parse(
            [
                "train.py",
                "--train_mode=distill",
                "--checkpoint=/",
                *arguments,
            ]
        )
        return distilling.images(source)

    def test_no_label_by_default(self, source):
        split = self.split(source)
        assert not split.has_labels
        assert split.num_examples == source.pretrain.num_examples

    def test_the_labels_that_fine_tuning_sees(self, source):
        split = self.split(
            source, "--distillation_alpha=0.9", "--labels_per_class=5"
        )
        rows = np.flatnonzero(split.labels >= 0)
        np.testing.assert_array_equal(
            split.labels[rows], source.pretrain.labels[rows]
        )
        np.testing.assert_array_equal(rows, finetuning.labelled_rows(source))
        assert np.bincount(split.labels[rows]).tolist() == [5] * 10

    def test_all_labels(self, source):
        split = self.split(source, "--distillation_alpha=0.9")
        np.testing.assert_array_equal(split.labels, source.pretrain.labels)


class TestMistakes:
    def refused(self, capsys, *arguments):
        return commands.refused(capsys, "--train_mode=distill", *arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                "--distillation_temperature=0",
                "flag --distillation_temperature=0: must be a number",
            ),
            ("--distillation_alpha=0", "flag --distillation_alpha=0: must be"),
            ("--distillation_alpha=2", "flag --distillation_alpha=2: must be"),
            (
                "--label_fraction=0.1",
                "flag --label_fraction=0.1: has no effect with "
                "--distillation_alpha=1",
            ),
            ("--temperature=0.1", "flag --temperature=0.1: has no effect"),
            ("--mode=eval", "flag --mode=eval: must be train or"),
        ],
    )
    def test_flags(self, arguments, message, taught, capsys):
        line = self.refused(capsys, f"--checkpoint={taught[0]}", arguments)
        assert line.startswith(message)

    def test_no_teacher(self, capsys, tmp_path):
        assert self.refused(capsys).startswith(
            "flag --train_mode=distill: needs --checkpoint"
        )
        missing = tmp_path / "typo"
        assert self.refused(capsys, f"--checkpoint={missing}") == (
            f"flag --checkpoint={missing}: no such file or folder"
        )

    def test_an_encoder_without_classifier(self, capsys, tmp_path):
        commands.write_run(tmp_path)
        run = tmp_path / "run"
        line = self.refused(
            capsys, f"--checkpoint={tmp_path}", f"--model_dir={run}"
        )
        assert "a run without classifier.keras" in line
        assert not run.exists()

    def test_other_classes(self, capsys, tmp_path):
        images = keras.Input([8, 8, 3])
        logits = keras.layers.Dense(7)(keras.layers.Flatten()(images))
        keras.Model(images, logits).save(tmp_path / "seven.keras")
        line = self.refused(capsys, f"--checkpoint={tmp_path}/seven.keras")
        assert "data's 10 classes" in line and "gives 7 numbers" in line

    def test_labels_of_images_without(self, capsys, taught, tmp_path):
        path = tmp_path / "bare.npz"
        np.savez(path, x_train=np.zeros([8, 8, 8, 3], np.uint8))
        line = self.refused(
            capsys,
            f"--checkpoint={taught[0]}",
            f"--dataset={path}",
            "--distillation_alpha=0.5",
        )
        assert line.startswith("flag --distillation_alpha: must be 1")
