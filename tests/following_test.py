"""A run as one sees it that follows its checkpoints."""

import json
import shutil

import numpy as np
import pytest

from simclr_keras import following
from simclr_keras import training_state
from tests import small_run


@pytest.fixture(scope="module")
def model():
    return small_run.model()


class Run:
    """A run that does the next of some things whenever one waits for it."""

    def __init__(self, folder, model, *things):
        self.folder = folder
        self.saved = training_state.Checkpoints(
            folder / "checkpoints", 2, **training_state.state(model)
        )
        self.things = list(things)
        self.now = 0.0
        self.said = []

    def checkpoint(self, *steps):
        for step in steps:
            self.saved.save(step)

    def end(self):
        (self.folder / "encoder.keras").touch()

    def sleep(self, seconds):
        self.now += seconds
        if self.things:
            self.things.pop(0)(self)

    def follow(self, **settings):
        """Steps that were yielded."""
        return [
            step
            for step, _ in following.checkpoints(
                self.folder,
                patience=60,
                say=self.said.append,
                sleep=self.sleep,
                clock=lambda: self.now,
                **settings,
            )
        ]


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestCheckpoints:
    def test_each_new_one_until_the_end(self, tmp_path, model):
        run = Run(
            tmp_path,
            model,
            lambda run: run.checkpoint(2),
            lambda run: run.checkpoint(4, 6),
            lambda run: None,
            lambda run: (run.checkpoint(8, 9), run.end()),
        )
        # The last one has the weights of encoder.keras.
        assert run.follow() == [2, 4, 6, 8]
        assert len(run.said) == 3
        assert "waiting for a checkpoint, the first one," in run.said[0]
        assert "one after 6" in run.said[2]

    def test_known_ones_are_left_out(self, tmp_path, model):
        run = Run(tmp_path, model, Run.end)
        run.checkpoint(2, 4)
        assert run.follow(known=[2]) == [4]

    def test_of_a_run_that_has_ended_none(self, tmp_path, model):
        run = Run(tmp_path, model)
        run.checkpoint(2, 4)
        run.end()
        assert run.follow() == []

    def test_removed_before_it_was_read(self, tmp_path, model, monkeypatch):
        run = Run(tmp_path, model, Run.end)
        run.checkpoint(2, 4)
        read = training_state.read_weights

        def late(folder):
            if folder.name == "step_2":
                shutil.rmtree(folder)
            return read(folder)

        monkeypatch.setattr(training_state, "read_weights", late)
        assert run.follow() == [4]
        assert run.said[0] == (
            "checkpoint of step 2 was removed before it was read"
        )

    def test_a_damaged_one_is_named(self, tmp_path, model):
        run = Run(tmp_path, model, Run.end)
        run.checkpoint(2, 4)
        data = next((tmp_path / "checkpoints" / "step_2").glob("*.data*"))
        data.write_bytes(data.read_bytes()[:-9])
        assert run.follow() == [4]
        assert "checkpoint of step 2 is skipped" in run.said[0]
        assert "checksum" in run.said[0]

    def test_gives_up_without_a_sign_of_life(self, tmp_path, model):
        def line(run):
            (tmp_path / "metrics.jsonl").write_text("{}\n" * int(run.now + 1))

        # 60 seconds from the last line on.
        run = Run(tmp_path, model, *[line] * 20)
        with pytest.raises(following.NoSignOfTraining, match="1 minutes"):
            run.follow()
        assert 160 <= run.now <= 170

    def test_changes_nothing(self, tmp_path, model):
        run = Run(tmp_path, model, Run.end)
        run.checkpoint(2, 4)
        (tmp_path / "checkpoints" / ".step_6.1").mkdir()
        before = contents(tmp_path)
        run.follow()
        (tmp_path / "encoder.keras").unlink()
        assert contents(tmp_path) == before
        assert (tmp_path / "checkpoints" / ".step_6.1").is_dir()


class TestGiveWeights:
    def test_gives_those_of_the_run(self, tmp_path, model):
        run = Run(tmp_path, model)
        run.checkpoint(2)
        weights = training_state.read_weights(run.saved.path(2))
        other = small_run.model().encoder
        other.set_weights([w + 1.0 for w in other.get_weights()])
        following.give_weights(other, weights)
        for ours, theirs in zip(
            other.get_weights(), model.encoder.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("shape", [None, (3, 3, 3, 12)])
    def test_of_another_encoder_are_refused(self, model, shape):
        encoder = small_run.model().encoder
        weights = {w.path: w.numpy() for w in encoder.weights}
        kernel = encoder.weights[0].path
        del weights[kernel]
        if shape:
            weights[kernel] = np.zeros(shape)
        before = encoder.get_weights()
        with pytest.raises(ValueError, match="conv/kernel of shape"):
            following.give_weights(encoder, weights)
        for old, new in zip(before, encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


class TestEvaluations:
    def test_are_lines(self, tmp_path):
        assert following.evaluations(tmp_path) == []
        following.append(tmp_path, {"step": 2})
        with (tmp_path / "evaluations.jsonl").open("a") as file:
            file.write('{"step": 4, "kn')
        following.append(tmp_path, {"step": 4, "knn": 0.5})
        lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
        assert json.loads(lines[-1]) == {"step": 4, "knn": 0.5}
        assert following.evaluations(tmp_path) == [
            {"step": 2},
            {"step": 4, "knn": 0.5},
        ]
