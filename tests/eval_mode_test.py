"""A training that measures itself, and a process that follows it."""

import json
import time

import matplotlib.image
import numpy as np
import pytest

from simclr_keras import run_directory
from tests.train_test import contents
from tests.train_test import start
from tests.train_test import train

STEPS, EPOCH = 90, 22


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """(folder, what the training printed, what its follower printed)."""
    model_dir = tmp_path_factory.mktemp("runs") / "digits"
    training = start(
        f"--model_dir={model_dir}",
        f"--train_steps={STEPS}",
        "--train_batch_size=64",
        "--width_multiplier=0.125",
        "--image_size=8",
        "--eval_every=2",
        "--checkpoint_steps=30",
        "--mode=train",
        "--noexport",
    )
    while not (model_dir / "run.flags").exists() and training.poll() is None:
        time.sleep(0.1)
    follower = train(f"--model_dir={model_dir}", "--mode=eval")
    shown, problems = training.communicate(timeout=300)
    assert training.returncode == 0, problems
    assert follower.returncode == 0, follower.stderr
    return model_dir, shown, follower.stdout


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
class TestEvalEvery:
    def test_measures_after_its_epochs_and_the_last_step(self, followed):
        model_dir, shown, _ = followed
        measured = {
            line["step"]: line["knn_top1"]
            for line in lines(model_dir / "metrics.jsonl")
            if "knn_top1" in line
        }
        assert list(measured) == [2 * EPOCH, 4 * EPOCH, STEPS]
        assert f"kNN {measured[STEPS]:.1%}" in shown.splitlines()[-2]
        best = json.loads((model_dir / "best_encoder.json").read_text())
        assert best["knn_top1"] == max(measured.values())
        assert measured[best["step"]] == best["knn_top1"]
        assert (model_dir / "best_encoder.keras").is_file()

    def test_says_where_the_report_is(self, followed):
        model_dir, shown, _ = followed
        assert shown.splitlines()[-1] == f"report: {model_dir / 'report.html'}"


@pytest.mark.slow
class TestModeEval:
    def test_measures_the_final_encoder(self, followed):
        model_dir, _, said = followed
        evaluations = lines(model_dir / "evaluations.jsonl")
        assert evaluations[-1]["step"] == STEPS
        assert {e["step"] for e in evaluations} <= {30, 60, STEPS}
        results = json.loads((model_dir / "results.json").read_text())
        assert evaluations[-1] == {"step": STEPS, **results}
        assert set(results["representations"]) == {
            "encoder",
            "raw pixels",
            "random encoder",
        }
        assert "training has ended; its final encoder" in said

    def test_of_a_finished_run_writes_its_own_line_alone(self, followed):
        model_dir, _, _ = followed
        before = contents(model_dir)
        directory = run_directory.RunDirectory(model_dir)
        directory.lock()
        again = train(
            f"--model_dir={model_dir}", "--mode=eval", "--evaluations=knn"
        )
        directory.release()
        assert again.returncode == 0, again.stderr
        changed = {
            path.name
            for path, content in contents(model_dir).items()
            if before.get(path) != content
        }
        assert changed == {"evaluations.jsonl", "results.json"}
        last = lines(model_dir / "evaluations.jsonl")[-1]
        assert set(last["representations"]["encoder"]) == {"knn"}

    def test_of_a_run_with_other_settings(self, followed):
        answer = train(
            f"--model_dir={followed[0]}",
            "--mode=eval",
            "--width_multiplier=0.25",
            timeout=60,
        )
        assert answer.returncode == 2
        assert "--width_multiplier was 0.125 and is 0.25" in answer.stderr


class TestMistakes:
    def test_no_run_to_follow(self, tmp_path):
        answer = train(f"--model_dir={tmp_path}", "--mode=eval", timeout=60)
        assert answer.returncode == 2
        assert "has no run to follow" in answer.stderr
        assert not list(tmp_path.iterdir())

    def test_labels_that_are_not_there(self, tmp_path):
        for number in range(8):
            image = np.full([9, 9, 3], number, np.uint8)
            matplotlib.image.imsave(tmp_path / f"{number}.png", image)
        answer = train(
            f"--dataset={tmp_path}",
            f"--model_dir={tmp_path / 'run'}",
            "--train_batch_size=4",
            "--eval_every=1",
            timeout=60,
        )
        assert answer.returncode == 2
        assert "--eval_every=1: needs labelled images" in answer.stderr
