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

from tests import workers

STEPS = 12
RUN = (f"--train_steps={STEPS}", "--checkpoint_steps=4", "--evaluations=knn")
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
    def test_equal_one_process(self, runs):
        folder, _ = runs
        expected, found = weights(folder / "one"), weights(folder / "two")
        assert expected.keys() == found.keys() and len(expected) > 150
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, atol=1e-5, rtol=1e-5, err_msg=key
            )

    def test_log_what_one_process_logs(self, runs):
        folder, _ = runs
        expected, found = steps(folder / "one"), steps(folder / "two")
        assert [log["step"] for log in found] == list(range(1, STEPS + 1))
        for log, other in zip(found, expected, strict=True):
            assert log == pytest.approx(other, abs=1e-5, rel=1e-5)

    def test_the_chief_alone_writes_and_prints(self, runs):
        folder, ((output, *_), (quiet, errors, _)) = runs
        names = [
            {p.name for p in (folder / name).iterdir()}
            for name in ("one", "two")
        ]
        assert names[0] == names[1]
        checkpoints = (folder / "two" / "checkpoints").iterdir()
        assert {p.name for p in checkpoints} == {"step_4", "step_8", "step_12"}
        boards = list((folder / "two" / "tensorboard").iterdir())
        assert len(boards) == 1
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
