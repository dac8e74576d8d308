"""What is measured while a run trains: never what it trains."""

import io
import json

import keras
import numpy as np
import pytest

from simclr_keras import callbacks
from simclr_keras import monitors
from simclr_keras import training
from simclr_keras.evaluation import held_out
from simclr_keras.evaluation import sphere
from tests import small_run

EPOCH, LAST = 2, 7


def images():
    return small_run.split().images[:8] / np.float32(255)


def evaluated(encoder):
    split = small_run.split()
    labelled = split.subset(np.flatnonzero(split.labels >= 0))
    dataset = held_out.images(labelled, batch_size=64, image_size=8)
    return held_out.run(encoder, dataset, k=3)


def fit(model, watchers, first_step=0, last_step=LAST):
    training.fit(
        model,
        lambda step, steps: small_run.batches(None, step, steps),
        first_step,
        last_step,
        EPOCH,
        watchers,
    )


def state(model):
    return [*model.weights, *model.optimizer.variables]


def values(model):
    return [variable.numpy() for variable in state(model)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run of three and a half epochs, measured after the second and last.

    Returns:
        The model, the folder, what was shown, and the values that the same
        run ended with when nothing was measured.
    """
    folder = tmp_path_factory.mktemp("run")
    model = small_run.model()
    first = values(model)
    fit(model, [])
    plain = values(model)
    for variable, value in zip(state(model), first, strict=True):
        variable.assign(value)
    stream = io.StringIO()
    fit(
        model,
        [
            monitors.Sphere(images(), 1, LAST),
            monitors.Best(evaluated, folder, 2, EPOCH, LAST),
            callbacks.ProgressBar(LAST, 0, small_run.BATCH, None, stream),
            callbacks.MetricsLog(folder, 0, 3, small_run.BATCH, None),
        ],
    )
    return model, folder, stream.getvalue(), plain


def lines(folder):
    text = (folder / "metrics.jsonl").read_text()
    return {line["step"]: line for line in map(json.loads, text.splitlines())}


def test_a_run_ends_with_the_same_bits_whether_measured_or_not(watched):
    model, _, _, plain = watched
    for one, other in zip(values(model), plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_measures_are_in_the_lines_of_their_steps(watched):
    model, folder, shown, _ = watched
    found = lines(folder)
    # Every third step, ends of epochs, and what was measured.
    assert sorted(found) == [2, 3, 4, 6, 7]
    assert [s for s in found if "knn_top1" in found[s]] == [4, 7]
    assert [s for s in found if "projection_uniformity" in found[s]] == [7]
    expected = sphere.run(model, images())
    for name in ("projection_alignment", "projection_uniformity"):
        assert found[7][name] == pytest.approx(expected[name], rel=1e-6)
    last = evaluated(model.encoder)
    assert found[7]["knn_top1"] == last["knn_top1"]
    assert found[7]["linear_top1"] == last["linear_top1"]
    assert f"kNN {last['knn_top1']:.1%}" in shown


class Scripted:
    """Evaluations with given accuracies."""

    def __init__(self, *accuracies):
        self.accuracies = list(accuracies)

    def __call__(self, encoder):
        return {"knn_top1": self.accuracies.pop(0), "linear_top1": 0.5}


def best(folder, accuracies, first_step=0, last_step=8):
    """Plays a run with an evaluation after every second step."""
    model = small_run.model()
    monitor = monitors.Best(
        Scripted(*accuracies), folder, 1, EPOCH, last_step, first_step
    )
    monitor.set_model(model)
    kernel = model.encoder.weights[0]
    for step in range(first_step + 1, last_step + 1):
        kernel.assign(np.full(kernel.shape, step))
        monitor.on_train_batch_end(0, {})
    return kept(folder)


def kept(folder):
    """What the record says, and of which step the encoder is."""
    record = json.loads((folder / "best_encoder.json").read_text())
    encoder = keras.models.load_model(folder / "best_encoder.keras")
    return record["step"], record["knn_top1"], encoder.weights[0].numpy().max()


class TestBest:
    def test_is_kept_with_its_step(self, tmp_path):
        assert best(tmp_path, [0.5, 0.7, 0.7, 0.6]) == (4, 0.7, 4)
        record = monitors.best(tmp_path)
        assert record["epochs"] == 2
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"best_encoder.json", "best_encoder.keras"}

    def test_a_run_that_goes_on_knows_it(self, tmp_path):
        best(tmp_path, [0.5, 0.7], last_step=4)
        assert best(tmp_path, [0.6, 0.7], 4, 8) == (4, 0.7, 4)
        assert best(tmp_path, [0.71], 8, 10) == (10, 0.71, 10)

    def test_killed_between_its_two_files(self, tmp_path, monkeypatch):
        best(tmp_path, [0.5], last_step=2)

        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(monitors.run_files, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            best(tmp_path, [0.6], 2, 4)
        monkeypatch.undo()
        assert kept(tmp_path) == (2, 0.5, 4)
        # The step is done again.
        assert best(tmp_path, [0.6], 2, 4) == (4, 0.6, 4)

    @pytest.mark.parametrize("damage", ["{", "[]", '{"step": 3}'])
    def test_a_damaged_record_is_written_anew(self, tmp_path, damage):
        best(tmp_path, [0.9], last_step=2)
        (tmp_path / "best_encoder.json").write_text(damage)
        assert best(tmp_path, [0.2], 2, 4) == (4, 0.2, 4)

    def test_weights_that_are_not_finite_are_not_measured(self, tmp_path):
        model = small_run.model()
        monitor = monitors.Best(Scripted(), tmp_path, 1, 1, 8)
        monitor.set_model(model)
        model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
        logs = {}
        monitor.on_train_batch_end(0, logs)
        assert logs == {} and not list(tmp_path.iterdir())


def test_a_copy_is_measured_instead_of_replicas():
    model, copy = small_run.model(), small_run.model()
    model.encoder.weights[0].assign(model.encoder.weights[0] + 1.0)
    monitor = monitors.Sphere(images(), 20, 20, 19, copy=copy)
    monitor.set_model(model)
    logs = {}
    monitor.on_train_batch_end(0, logs)
    expected = sphere.run(model, images())["projection_alignment"]
    assert logs["projection_alignment"] == pytest.approx(expected, rel=1e-6)


def test_short_epochs_are_measured_together():
    assert monitors.Sphere(images(), 5, 90).period == 20
    assert monitors.Sphere(images(), 8, 90).period == 24
    assert monitors.Sphere(images(), 300, 900).period == 300
