"""`--mode=eval` on folders as runs leave them, without training."""

import argparse
import json

import pytest

import simclr_keras
from simclr_keras.flags import catalogue
from simclr_keras.jobs import follow
from tests import following_test
from tests import small_run

CONFIG = {"flags": {"mode": "train"}, "dataset": {"fingerprint": "a"}}
RESULTS = {"representations": {"encoder": {"knn": {"top1": 0.5}}}}


@pytest.fixture(autouse=True)
def _default_flags():
    yield
    for flag in catalogue.definitions().values():
        flag.unparse()


@pytest.fixture(scope="module")
def model():
    return small_run.model()


@pytest.fixture
def run(tmp_path, model):
    """A run with two checkpoints, whose folder is --model_dir."""
    made = following_test.Run(tmp_path, model)
    made.checkpoint(2, 4)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    follow.parse(["train.py", f"--model_dir={tmp_path}", "--mode=eval"])
    return made


def end(run, encoder):
    simclr_keras.save_encoder(encoder, run.folder / "encoder.keras")


def followed(run, monkeypatch, config=CONFIG, build=None):
    """What was asked to be measured: (kernel's first entry, baselines)."""
    asked = []

    def measure(encoder, baselines):
        asked.append((encoder.weights[0].numpy().ravel()[0], baselines))
        return RESULTS

    monkeypatch.setattr("time.sleep", run.sleep)
    follow.follow(
        config, 9, build or (lambda: small_run.model().encoder), measure
    )
    return asked


class TestFollow:
    def test_measures_checkpoints_and_then_the_final_encoder(
        self, run, model, monkeypatch
    ):
        kernel = model.encoder.weights[0].numpy().ravel()[0]
        run.things = [lambda run: end(run, model.encoder)]
        asked = followed(run, monkeypatch)
        assert asked == [(kernel, False), (kernel, False), (kernel, True)]
        evaluations = simclr_keras.following.evaluations(run.folder)
        assert evaluations == [{"step": s, **RESULTS} for s in (2, 4, 9)]
        written = json.loads((run.folder / "results.json").read_text())
        assert written == RESULTS
        assert not (run.folder / ".lock").exists()

    def test_leaves_results_to_a_run_that_measures(
        self, run, model, monkeypatch
    ):
        end(run, model.encoder)
        config = {**CONFIG, "flags": {"mode": "train_then_eval"}}
        assert len(followed(run, monkeypatch, config)) == 1
        assert not (run.folder / "results.json").exists()

    def test_another_encoder_is_refused(self, run, monkeypatch, capsys):
        def build():
            return simclr_keras.resnet(18, 1 / 16, stem="cifar", image_size=8)

        with pytest.raises(SystemExit) as exit_info:
            followed(run, monkeypatch, build=build)
        assert exit_info.value.code == 2
        assert "must be those of such an encoder" in capsys.readouterr().err

    def test_a_damaged_final_encoder_is_named(self, run, monkeypatch, capsys):
        (run.folder / "encoder.keras").write_text("PK cut off")
        with pytest.raises(SystemExit) as exit_info:
            followed(run, monkeypatch)
        assert exit_info.value.code == 2
        assert "encoder.keras, which is not" in capsys.readouterr().err


class TestFound:
    SOURCE = argparse.Namespace(train=[], test=[], fingerprint="a")

    def found(self, source=SOURCE, differences=()):
        settings = argparse.Namespace(differences=lambda _: [*differences])
        return follow.found(settings, source)

    def test_is_the_config(self, run):
        assert self.found() == CONFIG

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"differences": ["--a was 1 and is 2"]}, "--a was 1 and is 2"),
            (
                {
                    "source": argparse.Namespace(
                        **{**vars(SOURCE), "fingerprint": "b"}
                    )
                },
                "not the same images",
            ),
            (
                {
                    "source": argparse.Namespace(
                        **{**vars(SOURCE), "test": None}
                    )
                },
                "needs labelled images",
            ),
        ],
    )
    def test_refuses_what_is_not_of_the_run(
        self, run, capsys, arguments, message
    ):
        with pytest.raises(SystemExit) as exit_info:
            self.found(**arguments)
        assert exit_info.value.code == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("content", [None, "{"])
    def test_refuses_a_folder_without_a_run(self, run, capsys, content):
        (run.folder / "config.json").unlink()
        if content:
            (run.folder / "config.json").write_text(content)
        with pytest.raises(SystemExit):
            self.found()
        assert f"--model_dir={run.folder}: " in capsys.readouterr().err


def test_takes_the_settings_of_the_run(tmp_path):
    (tmp_path / "run.flags").write_text("--temperature=0.3\n--seed=5\n")
    arguments = [f"--model_dir={tmp_path}", "--mode=eval", "--seed=6"]
    given = follow.parse(["train.py", *arguments])
    values = catalogue.values()
    assert (values["temperature"], values["seed"]) == (0.3, 6)
    assert given["temperature"] == "flagfile"
    assert given["seed"] == "command line"


def test_refuses_a_run_of_fine_tuning(tmp_path, capsys):
    (tmp_path / "run.flags").write_text("--seed=5\n")
    config = {"flags": {"train_mode": "finetune"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as exit_info:
        follow.parse(["train.py", f"--model_dir={tmp_path}", "--mode=eval"])
    assert exit_info.value.code == 2
    assert "--train_mode=finetune, which measures" in capsys.readouterr().err
