"""Two processes on one machine, as two hosts: `train.py` with `TF_CONFIG`."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import small_run
from tests import workers

STEPS = 12
RUN = (
    f"--train_steps={STEPS}",
    "--checkpoint_steps=4",
    "--evaluations=knn",
    # At the rate of the recipe, without warm-up, rounding grows a
    # thousandfold in a step.
    "--learning_rate=0.05",
)
# Steps that stay equal to 1e-5: later, rounding moves a value across a ReLU's
# bend.
ALIKE = 6
# Within which workers notice that another one is gone.
SECONDS = 60

pytestmark = pytest.mark.slow


def weights(model_dir, step=STEPS):
    folder = model_dir / "checkpoints" / f"step_{step}"
    reader = tf.train.load_checkpoint(str(folder / "checkpoint"))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.startswith(("weights/", "optimizer/", "metrics/"))
    }


def steps(model_dir):
    lines = (model_dir / "metrics.jsonl").read_text().splitlines()
    clock = ("images_per_second", "data_wait")
    return [
        {k: v for k, v in json.loads(line).items() if k not in clock}
        for line in lines
    ]


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from simclr_keras import distribution
strategy = distribution.strategy("multi_worker")
import numpy as np
from tests import small_run
model = small_run.model(strategy)
logs = small_run.trained(model, strategy)
losses = [log["loss"] for log in logs]
np.savez(sys.argv[2], losses, *small_run.weights(model))
"""


def test_two_workers_equal_one(tmp_path):
    """A small network, through `fit`: five layers pass little rounding on."""
    paths = [tmp_path / f"{index}.npz" for index in range(2)]
    answers = workers.finish(
        workers.start(
            program=("-c", WORKER, workers.ROOT),
            first=[(path,) for path in paths],
        )
    )
    for _, stderr, code in answers:
        assert code == 0, stderr
    one = small_run.model()
    start = small_run.weights(one)
    losses = [log["loss"] for log in small_run.trained(one)]
    expected = [losses, *small_run.weights(one)]
    assert small_run.largest_difference(start, expected[1:]) > 0.01
    for path in paths:
        found = list(np.load(path).values())
        assert small_run.largest_difference(found, expected) < 1e-5


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by two workers and by one process."""
    folder = tmp_path_factory.mktemp("runs")
    two = workers.finish(workers.start(f"--model_dir={folder / 'two'}", *RUN))
    for _, stderr, code in two:
        assert code == 0, stderr
    one = subprocess.run(
        [
            *(sys.executable, workers.ROOT / "train.py", *workers.SMALL),
            *(f"--model_dir={folder / 'one'}", *RUN),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert one.returncode == 0, one.stderr
    return folder, two


class TestTwoWorkers:
    def test_log_what_one_process_logs(self, runs):
        folder, _ = runs
        expected, found = steps(folder / "one"), steps(folder / "two")
        assert [log["step"] for log in found] == list(range(1, STEPS + 1))
        pairs = list(zip(found, expected, strict=True))
        for log, other in pairs[:ALIKE]:
            assert log == pytest.approx(other, abs=1e-5, rel=1e-5)
        assert pairs[-1][0]["loss"] == pytest.approx(
            pairs[-1][1]["loss"], rel=1e-3
        )

    def test_end_where_one_process_ends(self, runs):
        folder, _ = runs
        expected, found = weights(folder / "one"), weights(folder / "two")
        assert expected.keys() == found.keys() and len(expected) > 150
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, atol=1e-2, rtol=1e-2, err_msg=key
            )

    def test_the_chief_alone_writes_and_prints(self, runs):
        folder, ((output, *_), (quiet, errors, _)) = runs
        names = [
            {p.name for p in (folder / name).iterdir()}
            for name in ("one", "two")
        ]
        assert names[0] == names[1]
        checkpoints = (folder / "two" / "checkpoints").iterdir()
        assert {p.name for p in checkpoints} == {"step_4", "step_8", "step_12"}
        # events.out.tfevents.TIME.HOST.PROCESS.NUMBER.v2
        boards = (folder / "two" / "tensorboard").iterdir()
        assert len({board.name.split(".")[-3] for board in boards}) == 1
        assert "replicas: 2" in output and "exported" in output
        assert quiet == "worker 1 of 2: see worker 0\n"
        assert "Traceback" not in errors

    def test_the_same_command_on_a_finished_run_does_nothing(self, runs):
        folder, _ = runs
        again = workers.finish(
            workers.start(f"--model_dir={folder / 'two'}", *RUN)
        )
        assert [code for *_, code in again] == [0, 0]
        assert "this run is finished" in again[0][0]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_worker_ends_the_other_with_an_error(tmp_path, victim):
    processes = workers.start(
        f"--model_dir={tmp_path}", "--train_steps=100000", "--mode=train"
    )
    workers.until_trained(processes[0])
    began = time.monotonic()
    os.kill(processes[victim].pid, signal.SIGKILL)
    answers = workers.finish(processes)
    seconds = time.monotonic() - began
    print(f"worker {victim} killed: the other ended after {seconds:.1f} s")
    _, stderr, code = answers[1 - victim]
    assert code not in (0, None)
    assert seconds < SECONDS
    if victim:
        assert code == 1
        assert "another worker has ended" in stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize("receiver", [0, 1])
def test_a_signal_to_any_worker_saves_and_ends_all(tmp_path, receiver):
    arguments = (
        f"--model_dir={tmp_path}",
        "--train_steps=300",
        "--mode=train",
        "--noexport",
    )
    processes = workers.start(*arguments)
    workers.until_trained(processes[0])
    os.kill(processes[receiver].pid, signal.SIGTERM)
    answers = workers.finish(processes)
    for _, stderr, code in answers:
        assert code == 128 + signal.SIGTERM, stderr
        assert "Traceback" not in stderr
    (saved,) = (int(p.name[5:]) for p in (tmp_path / "checkpoints").iterdir())
    assert steps(tmp_path)[-1]["step"] == saved
    if receiver:
        again = workers.finish(workers.start(*arguments))
        assert [code for *_, code in again] == [0, 0], again
        assert f"resuming at step {saved} of 300" in again[0][0]


def test_workers_that_differ_are_refused(tmp_path):
    answers = workers.finish(
        workers.start(
            f"--model_dir={tmp_path}", *RUN, own=(["--seed=1"], ["--seed=2"])
        )
    )
    for _, stderr, code in answers:
        assert code == 2
        assert "workers differ in their flags" in stderr
        assert "Traceback" not in stderr
