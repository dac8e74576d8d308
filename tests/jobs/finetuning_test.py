"""`--train_mode=finetune` as a user runs it, on an encoder that is quick."""

import contextlib
import io
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import data
from simclr_keras.data import pipelines
from simclr_keras.evaluation import finetune
from simclr_keras.export import __main__ as export_command
from simclr_keras.jobs import finetuning
from tests.jobs import commands

FEW = (
    "--train_mode=finetune",
    "--labels_per_class=10",
    "--train_steps=12",
    "--train_batch_size=30",
    "--checkpoint_steps=5",
    "--train_summary_steps=1",
    "--learning_rate=1",
    "--image_size=8",
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a run, with its encoder and head."""
    folder = tmp_path_factory.mktemp("pretrained")
    return folder, *commands.write_run(folder)


@pytest.fixture(scope="module")
def finished(pretrained, tmp_path_factory):
    """A run of two fits on ten labels per class: folder, what it printed."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        commands.run(
            *FEW,
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={folder}",
            "--label_draws=2",
        )
    return folder, output.getvalue()


@pytest.fixture
def tuned(finished):
    return finished[0]


@pytest.fixture
def output(finished):
    return finished[1]


def digits():
    source = data.open_source("digits")
    return source.train, pipelines.evaluation(source.test, 256, commands.SIZE)


class TestRun:
    def test_files(self, tuned):
        assert {path.name for path in tuned.iterdir()} >= {
            "checkpoints",
            "classifier.keras",
            "config.json",
            "embeddings.npz",
            "encoder.keras",
            "metrics.jsonl",
            "report.html",
            "results.json",
            "run.flags",
            "saved_model",
            "tensorboard",
        }
        steps = {path.name for path in (tuned / "checkpoints").iterdir()}
        assert steps == {"step_5", "step_10", "step_12"}
        assert json.loads((tuned / "config.json").read_text())["finished"]

    def test_result_is_that_of_the_library(self, tuned, pretrained):
        results = json.loads((tuned / "results.json").read_text())
        expected = finetune.run(
            simclr_keras.load_encoder(pretrained[0] / "encoder.keras"),
            *digits(),
            labels_per_class=10,
            seeds=(0, 1),
            num_classes=10,
            train_steps=12,
            train_batch_size=30,
            train_epochs=150,
            learning_rate=1.0,
            flip_probability=0.0,
        )
        assert results == {
            "num_train": 100,
            "num_examples": 360,
            "seed": 0,
            "draws": 2,
            "representations": {"fine-tuned": {"finetune": expected}},
        }

    def test_metrics(self, tuned):
        lines = (tuned / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [*range(1, 13)]
        assert {"loss", "top1", "learning_rate", "data_wait"} <= set(
            json.loads(lines[-1])
        )

    def test_what_is_served_is_the_fine_tuned_classifier(self, tuned):
        encoder, classifier = (
            keras.models.load_model(tuned / f"{name}.keras")
            for name in ("encoder", "classifier")
        )
        images, labels = map(np.concatenate, zip(*digits()[1], strict=True))
        best = np.argmax(classifier(encoder(images)), axis=1)
        served = tf.saved_model.load(str(tuned / "saved_model" / "1"))
        classes = served.signatures["classify"](images=images)["classes"]
        np.testing.assert_array_equal(classes[:, 0], best)
        results = json.loads((tuned / "results.json").read_text())
        result = results["representations"]["fine-tuned"]["finetune"]
        assert result["top1_draws"][0] == np.mean(best == labels)

    def test_says_what_it_starts_from(self, pretrained, output):
        assert f"fine-tuning {pretrained[0]}/encoder.keras: an enc" in output
        assert "step 12/12: " in output and "(chance 2.30), accuracy" in output
        assert "fit 2 of 2" in output
        assert "of 360 test images, trained on 100 with labels" in output
        assert "digits, fine-tuning (SimCLR, appendix B.5" in output

    def test_from_scratch(self, tmp_path, capsys, monkeypatch):
        commands.write_run(tmp_path)
        encoder = simclr_keras.load_encoder(tmp_path / "encoder.keras")
        monkeypatch.setattr(simclr_keras, "resnet", lambda **_: encoder)
        commands.run(
            *FEW,
            f"--model_dir={tmp_path / 'run'}",
            "--noexport",
            "--eval_steps=1",
            "--eval_batch_size=90",
        )
        output = capsys.readouterr().out
        assert "no --checkpoint: supervised from scratch" in output
        assert "of 90 test images, trained on 100 with labels" in output
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert set(results["representations"]) == {"from scratch"}


def test_is_exported_again_as_the_run_itself_exports(tuned, tmp_path):
    export_command.main(
        ["simclr-export", f"--model_dir={tuned}", f"--output={tmp_path}"]
    )
    first, again = (
        json.loads((folder / "1" / "metadata.json").read_text())
        for folder in (tuned / "saved_model", tmp_path)
    )
    assert again == first
    assert first["provenance"]["results"]["finetune"]["num_examples"] == 360
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    answers = [
        tf.saved_model.load(str(folder / "1")).signatures["classify"](
            images=tf.constant(images)
        )
        for folder in (tuned / "saved_model", tmp_path)
    ]
    for name, expected in answers[0].items():
        np.testing.assert_allclose(answers[1][name], expected, atol=1e-6)


class TestResume:
    def test_is_exact(self, tuned, pretrained, tmp_path, monkeypatch, capsys):
        arguments = (
            *FEW,
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={tmp_path}",
            "--mode=train",
            "--noexport",
        )
        commands.run_into_a_full_disk(monkeypatch, 10, *arguments)
        said = capsys.readouterr().err
        assert "checkpoint of step 5 in place: the disk is full" in said
        commands.run(*arguments)
        assert "resuming at step 5 of 12" in capsys.readouterr().out
        assert_same_end(tuned, tmp_path)

    def test_other_labels_are_another_run(self, tuned, pretrained, capsys):
        line = refused_lines(
            capsys,
            *FEW,
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={tuned}",
            "--label_draws=2",
            "--labels_per_class=5",
        )
        assert "--labels_per_class was 10 and is 5" in line

    def test_other_weights_are_another_run(self, pretrained, tmp_path, capsys):
        encoder = tmp_path / "start" / "encoder.keras"
        shutil.copytree(pretrained[0], encoder.parent)
        arguments = (
            *FEW,
            f"--checkpoint={encoder}",
            f"--model_dir={tmp_path / 'run'}",
            "--mode=train",
            "--noexport",
            "--train_steps=1",
        )
        commands.run(*arguments)
        another = simclr_keras.load_encoder(encoder)
        another.weights[0].assign_add(keras.ops.ones_like(another.weights[0]))
        simclr_keras.save_encoder(another, encoder)
        assert "the weights of --checkpoint are not the same" in refused_lines(
            capsys, *arguments
        )

    def test_a_finished_run_is_left_alone(self, tuned, pretrained, capsys):
        commands.run(
            *FEW,
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={tuned}",
            "--label_draws=2",
        )
        assert "this run is finished" in capsys.readouterr().out


def assert_same_end(whole, resumed):
    """Two runs have the same bits in their last checkpoint, and metrics."""
    commands.assert_same_checkpoint(whole, resumed, 12)
    logs = []
    for folder in (whole, resumed):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        logs.append(
            [
                {n: json.loads(line)[n] for n in ("step", "loss", "top1")}
                for line in lines
            ]
        )
    assert logs[0] == logs[1]


def refused_lines(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        commands.run(*arguments)
    assert exit_info.value.code == 2
    return capsys.readouterr().err


class TestWhatTrains:
    def train(self, pretrained, model_dir, *arguments):
        commands.run(
            *FEW,
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={model_dir}",
            "--mode=train",
            "--noexport",
            *arguments,
        )
        return [
            keras.models.load_model(model_dir / f"{name}.keras")
            for name in ("encoder", "classifier")
        ]

    def test_what_is_frozen_stays_bit_identical(self, pretrained, tmp_path):
        encoder, classifier = self.train(
            pretrained, tmp_path, "--fine_tune_after_block=4"
        )
        for ours, before in zip(
            encoder.weights, pretrained[1].weights, strict=True
        ):
            np.testing.assert_array_equal(ours.numpy(), before.numpy())
        assert np.ptp(classifier.weights[0]) > 0.1

    def test_from_the_middle_of_the_head(self, pretrained, tmp_path):
        _, classifier = self.train(
            pretrained,
            tmp_path,
            "--ft_proj_selector=1",
            "--train_steps=1",
            "--learning_rate=1e-9",
        )
        kernel = pretrained[2].get_layer("projection1_dense").kernel
        np.testing.assert_allclose(
            classifier.get_layer("projection1_dense").kernel, kernel, atol=1e-6
        )
        names = [layer.name for layer in classifier.layers]
        assert "projection2_dense" not in names
        assert "linear_probe" in names[-1]

    def test_variable_schema(self, pretrained, tmp_path, capsys):
        encoder, _ = self.train(
            pretrained,
            tmp_path,
            "--variable_schema=(?!.*bn|head)",
            "--fine_tune_after_block=4",
        )
        assert "variables taken: 2 of" in capsys.readouterr().out
        same = [
            np.array_equal(ours, before)
            for ours, before in zip(
                encoder.weights, pretrained[1].weights, strict=True
            )
        ]
        # Gamma and beta never differed from what they start with.
        assert same == [True] * 4 + [False] * 2

    def test_labels_are_nested_and_drawn_by_seed(self):
        source = data.open_source("digits")
        chosen = {}
        for arguments in (
            "--labels_per_class=5",
            "--labels_per_class=10",
            "--label_fraction=0.1",
            "--label_fraction=0.1 --seed=1",
        ):
            commands.reset_flags()
            simclr_keras.flags.parse(
                ["train.py", "--train_mode=finetune", *arguments.split()]
            )
            split = finetuning.labelled(source)
            chosen[arguments] = {image.tobytes() for image in split.images}
        commands.reset_flags()
        five, ten, tenth, other = chosen.values()
        assert five < ten < tenth
        assert (len(five), len(ten), len(tenth)) == (50, 100, len(other))
        assert tenth != other


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--image_size=16", "flag --image_size=16: must be 8, as in --che"),
            (
                "--ft_proj_selector=3",
                "flag --ft_proj_selector=3: must be at most 2, the layers",
            ),
            (
                "--fine_tune_after_block=2",
                "flag --fine_tune_after_block=2: must be -1 or 4",
            ),
            (
                "--labels_per_class=2000",
                "flag --labels_per_class=2000: `labels_per_class` must be at",
            ),
            (
                "--label_fraction=0.001",
                "flag --label_fraction=0.001: must be at least 0.0",
            ),
            (
                "--label_fraction=0.1 --train_batch_size=200",
                "flag --train_batch_size=200: must be at most 14",
            ),
            ("--variable_schema=nothing", "flag --variable_schema=nothing: mu"),
        ],
    )
    def test_one_line(self, arguments, message, pretrained, tmp_path, capsys):
        line = commands.refused(
            capsys,
            "--train_mode=finetune",
            f"--checkpoint={pretrained[0]}",
            f"--model_dir={tmp_path / 'run'}",
            *arguments.split(),
        )
        assert line.startswith(message)

    def test_a_head_that_is_not_there(self, pretrained, tmp_path, capsys):
        simclr_keras.save_encoder(pretrained[1], tmp_path / "encoder.keras")
        line = commands.refused(
            capsys,
            "--train_mode=finetune",
            f"--checkpoint={tmp_path / 'encoder.keras'}",
            "--ft_proj_selector=1",
        )
        assert "must be 0 with this --checkpoint, which has no proj" in line

    def test_images_without_labels(self, pretrained, tmp_path, capsys):
        np.savez(
            tmp_path / "bare.npz", x_train=np.zeros([8, 8, 8, 3], np.uint8)
        )
        line = commands.refused(
            capsys,
            "--train_mode=finetune",
            f"--checkpoint={pretrained[0]}",
            f"--dataset={tmp_path / 'bare.npz'}",
        )
        assert line.startswith("flag --train_mode=finetune: needs labels")
