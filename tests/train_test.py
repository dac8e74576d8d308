"""`train.py` as a user runs it: one short run, then what it left behind."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from simclr_keras.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parent.parent
SMALL = (
    "--train_steps=9",
    "--train_batch_size=64",
    "--width_multiplier=0.125",
    "--image_size=8",
    "--checkpoint_steps=4",
    "--label_draws=2",
)


def train(*arguments, timeout=300):
    return subprocess.run(
        [sys.executable, ROOT / "train.py", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def start(*arguments):
    """The same without waiting for its end."""
    return subprocess.Popen(
        [sys.executable, ROOT / "train.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("runs") / "digits"
    finished = train(f"--model_dir={model_dir}", *SMALL)
    assert finished.returncode == 0, finished.stderr
    return model_dir, finished.stdout


class TestRun:
    def test_says_what_it_found_and_where_each_value_is_from(self, run):
        _, output = run
        assert "1,437 images, 8 x 8, held in memory" in output
        lines = output.splitlines()
        for name, value, origin in (
            ("image_size", "8", "command line"),
            ("use_blur", "false", "recipe"),
        ):
            assert any(
                line.split(maxsplit=2) == [name, value, origin]
                for line in lines
            )
        assert "temperature" in output and "default: " in output

    def test_shows_progress_and_results(self, run):
        _, output = run
        assert "step 9/9: " in output
        for row in ("encoder", "raw pixels", "random encoder"):
            assert any(line.startswith(row) for line in output.splitlines())

    def test_files(self, run):
        model_dir, _ = run
        assert {path.name for path in model_dir.iterdir()} == {
            ".lock",
            "checkpoints",
            "config.json",
            "embeddings.npz",
            "encoder.keras",
            "linear_probe.npz",
            "metrics.jsonl",
            "projection_head.keras",
            "report.html",
            "resources.json",
            "results.json",
            "run.flags",
            "samples.npz",
            "saved_model",
            "tensorboard",
        }

    def test_checkpoints_by_period_and_at_the_end(self, run):
        model_dir, _ = run
        steps = {path.name for path in (model_dir / "checkpoints").iterdir()}
        assert steps == {"step_4", "step_8", "step_9"}

    def test_config(self, run):
        config = json.loads((run[0] / "config.json").read_text())
        assert config["flags"]["train_batch_size"] == 64
        assert config["origins"]["train_batch_size"] == "command line"
        assert config["origins"]["use_blur"] == "recipe"
        assert config["environment"]["keras"]
        assert config["dataset"]["num_examples"] == 1437

    def test_metrics(self, run):
        lines = (run[0] / "metrics.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        assert last["step"] == 9
        assert {"loss", "probe_top1", "embedding_std", "data_wait"} <= set(last)

    def test_results_carry_protocol_and_sizes(self, run):
        results = json.loads((run[0] / "results.json").read_text())
        assert results["num_examples"] == 360
        for row in results["representations"].values():
            assert 0 < row["linear_probe"]["top1"] <= 1
            assert row["linear_probe"]["protocol"]
            assert len(row["linear_probe_5_per_class"]["top1_draws"]) == 2

    def test_served_probe_is_the_evaluated_one(self, run):
        import tensorflow as tf

        model_dir, _ = run
        served = tf.saved_model.load(str(model_dir / "saved_model" / "1"))
        with np.load(model_dir / "linear_probe.npz") as probe:
            images = np.random.default_rng(0).integers(
                0, 256, size=[3, 8, 8, 3], dtype=np.uint8
            )
            embed = served.signatures["embed_uint8"](images=images)
            logits = embed["embedding"] @ probe["kernel"] + probe["bias"]
            classify = served.signatures["classify_uint8"](images=images)
        np.testing.assert_array_equal(
            classify["classes"][:, 0], np.argmax(logits, axis=1)
        )

    def test_the_same_command_on_a_finished_run_does_nothing(self, run):
        model_dir, _ = run
        before = contents(model_dir)
        again = train(f"--flagfile={model_dir / 'run.flags'}", timeout=30)
        assert again.returncode == 0, again.stderr
        assert "this run is finished" in again.stdout
        assert "--overwrite" in again.stdout
        assert contents(model_dir) == before

    def test_other_settings_do_not_mix_with_it(self, run):
        model_dir, _ = run
        before = contents(model_dir)
        other = train(
            f"--flagfile={model_dir / 'run.flags'}",
            "--temperature=0.3",
            timeout=30,
        )
        assert other.returncode == 2
        assert "--temperature was 0.2 and is 0.3" in other.stderr
        assert contents(model_dir) == before

    def test_a_second_run_at_once_is_refused(self, run):
        model_dir, _ = run
        directory = RunDirectory(model_dir)
        directory.lock()
        second = train(f"--flagfile={model_dir / 'run.flags'}", timeout=30)
        directory.release()
        assert second.returncode == 2
        assert "another run is at work there" in second.stderr

    def test_what_comes_after_training_may_change(self, run):
        model_dir, _ = run
        checkpoint = model_dir / "checkpoints" / "step_9" / "sha256.json"
        before = (
            checkpoint.read_text(),
            (model_dir / "metrics.jsonl").read_text(),
        )
        again = train(
            f"--flagfile={model_dir / 'run.flags'}",
            "--evaluations=knn",
            "--noexport",
        )
        assert again.returncode == 0, again.stderr
        assert "resuming at step 9 of 9" in again.stdout
        assert before == (
            checkpoint.read_text(),
            (model_dir / "metrics.jsonl").read_text(),
        )
        results = json.loads((model_dir / "results.json").read_text())
        assert set(results["representations"]["encoder"]) == {"knn"}

    def test_overwrite_and_init_from(self, run, tmp_path):
        model_dir, _ = run
        copy = tmp_path / "copy"
        shutil.copytree(model_dir, copy)
        (copy / "photo.jpg").touch()
        again = train(
            f"--model_dir={copy}",
            "--overwrite",
            f"--init_from={model_dir}",
            "--temperature=0.3",
            "--mode=train",
            "--noexport",
            *SMALL[:-1],
        )
        assert again.returncode == 0, again.stderr
        assert re.search(r"weights taken: (\d+) of \1\n", again.stdout)
        names = {path.name for path in copy.iterdir()}
        assert "photo.jpg" in names
        assert names.isdisjoint({"results.json", "saved_model"})
        assert "--overwrite" not in (copy / "run.flags").read_text()


@pytest.mark.slow
def test_lr_range_test_trains_nothing_and_leaves_room_for_a_run(tmp_path):
    answer = train(f"--model_dir={tmp_path}", "--lr_range_test", *SMALL[1:5])
    assert answer.returncode == 0, answer.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"lr_range_test.json", "lr_range_test.png"}
    found = json.loads((tmp_path / "lr_range_test.json").read_text())
    assert len(found["loss"]) == len(found["learning_rate"]) > 50
    assert "learning rate" in answer.stdout.splitlines()[-1]
    assert RunDirectory(tmp_path).foreign() == []


def test_the_folder_of_the_images_is_no_model_dir(tmp_path):
    for number in range(4):
        image = np.full([9, 9, 3], number, np.uint8)
        matplotlib.image.imsave(tmp_path / f"{number}.png", image)
    answer = train(f"--dataset={tmp_path}", f"--model_dir={tmp_path}/.")
    assert answer.returncode == 2
    assert "must not be the folder of the images" in answer.stderr
    assert len(list(tmp_path.iterdir())) == 4


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    answer = train(f"--model_dir={tmp_path}", *SMALL, timeout=30)
    assert answer.returncode == 2
    assert "has no run, but files" in answer.stderr
    assert (tmp_path / "results.json").read_text() == "{}"


def contents(folder):
    """Every file below a folder, with what is in it."""
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    answer = train(
        f"--model_dir={tmp_path}",
        "--optimizer=momentum",
        "--learning_rate=1e30",
        *SMALL,
    )
    assert answer.returncode == 1
    assert "no checkpoint yet: the loss is nan at step" in answer.stderr
    assert "--learning_rate" in answer.stderr
    assert "Traceback" not in answer.stderr


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--dataset=/no/such/folder"], "no such file or folder"),
            (["--dataset=cifr10"], "cifar10"),
            (["--temperature=0"], "--temperature=0: must be a number above 0"),
            (["--temprature=0.5"], "temperature"),
            (["--train_batch_size=5000"], "must be at most 1437"),
        ],
    )
    def test_short_answer_with_code_2(self, arguments, message, tmp_path):
        answer = train(f"--model_dir={tmp_path}", *arguments, timeout=30)
        assert answer.returncode == 2
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr
        assert not list(tmp_path.iterdir())
