"""A run that is killed again and again ends as if nothing had happened.

Real processes and real signals. Run with -s, the tests print their figures.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 40
EVERY = 3
KILLS = 10
ARGUMENTS = (
    f"--train_steps={STEPS}",
    f"--checkpoint_steps={EVERY}",
    "--train_summary_steps=1",
    "--train_batch_size=32",
    "--width_multiplier=0.125",
    "--image_size=8",
    "--warmup_epochs=0",
    "--mode=train",
    "--noexport",
)
# Trains, and kills itself at a step: behind it, with the checkpoint's data
# written but not its checksums, or with all written but not renamed.
RUN = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
step, place = int(sys.argv.pop(1)), sys.argv.pop(1)
import train
from simclr_keras import callbacks, training_state

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

class Saver(callbacks.SaveCheckpoint):
    def on_train_batch_end(self, batch, logs=None):
        if self.done + 1 == step and place == "data":
            training_state._sha256 = lambda path: kill()
        if self.done + 1 == step and place == "rename":
            training_state.os.replace = lambda *paths: kill()
        super().on_train_batch_end(batch, logs)
        if self.done == step:
            kill()

callbacks.SaveCheckpoint = Saver
train.cli()
"""


def run(model_dir, *arguments, step=0, place="step"):
    return subprocess.run(
        [
            *(sys.executable, "-c", RUN, ROOT, str(step), place),
            *(f"--model_dir={model_dir}", *ARGUMENTS, *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )


def final_state(model_dir):
    """Every number in the last checkpoint: weights, optimizer, metrics."""
    folder = model_dir / "checkpoints" / f"step_{STEPS}"
    reader = tf.train.load_checkpoint(str(folder / "checkpoint"))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.startswith(("weights/", "optimizer/", "metrics/"))
    }


def metrics(model_dir):
    """What was logged of each step, without the clock."""
    lines = (model_dir / "metrics.jsonl").read_text().splitlines()
    clock = ("images_per_second", "data_wait")
    return [
        {k: v for k, v in json.loads(line).items() if k not in clock}
        for line in lines
    ]


def check_same_end(whole, killed):
    """Two runs have the same bits in their last checkpoint, and metrics."""
    expected, found = final_state(whole), final_state(killed)
    assert expected.keys() == found.keys() and len(expected) > 150
    difference = max(
        np.abs(expected[key].astype(np.float64) - found[key]).max()
        for key in expected
    )
    print(f"{len(expected)} variables, largest difference {difference}")
    assert difference == 0.0
    assert metrics(whole) == metrics(killed)


def kills(seed):
    """Ten steps at which to kill, and where; some while one is saved."""
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(np.arange(1, STEPS), KILLS, replace=False))
    places = {0: ("data", "rename")}
    for number, step in enumerate(steps):
        yield int(step), places.get(step % EVERY, ("step",))[number % 2 - 1]


@pytest.fixture
def folder(tmp_path):
    """Images of mixed sizes, which are streamed."""
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    for number in range(70):
        label = images / f"class{number % 2}"
        label.mkdir(parents=True, exist_ok=True)
        size = rng.integers(8, 14, 2)
        image = rng.integers(0, 256, [*size, 3]).astype(np.uint8)
        (label / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    return images


@pytest.mark.slow
@pytest.mark.parametrize("data", ["memory", "folder"])
def test_ten_kills_change_nothing(tmp_path, data, request):
    arguments = []
    if data == "folder":
        arguments = [f"--dataset={request.getfixturevalue('folder')}"]
    whole = run(tmp_path / "whole", *arguments)
    assert whole.returncode == 0, whole.stderr
    resumed = 0
    for step, place in kills(seed=len(data)):
        killed = run(tmp_path / "killed", *arguments, step=step, place=place)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed += "resuming at step" in killed.stdout
    last = run(tmp_path / "killed", *arguments)
    assert last.returncode == 0, last.stderr
    assert "resuming at step" in last.stdout
    print(f"{data}: {KILLS} kills, {resumed + 1} resumes")
    check_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    command = [
        *(sys.executable, ROOT / "train.py", f"--model_dir={tmp_path}"),
        *(*ARGUMENTS, "--train_steps=100000", "--overwrite"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step "):
                break
        os.kill(process.pid, number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    steps = [int(p.name[5:]) for p in (tmp_path / "checkpoints").iterdir()]
    assert f"checkpoint of step {max(steps)} in place" in last
    logged = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(logged[-1])["step"] == max(steps)
    assert f"--model_dir={tmp_path}" in last and "--overwrite" not in last


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_last_checkpoint_survives(tmp_path):
    first = run(tmp_path / "run", step=7)
    assert first.returncode == -signal.SIGKILL
    # Files cannot grow beyond this, as on a full disk.
    limited = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" + RUN
    )
    full = subprocess.run(
        [
            *(sys.executable, "-c", limited, ROOT, "0", "step"),
            *(f"--model_dir={tmp_path / 'run'}", *ARGUMENTS),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    # The report of the crash has no room either, and says so.
    *_, said, report = full.stderr.splitlines()
    assert "checkpoint of step 6 in place" in said
    assert "the checkpoint of step 9 cannot be written" in said
    assert "report.html is not written" in report
    names = {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"step_3", "step_6"}
    last = run(tmp_path / "run")
    assert last.returncode == 0, last.stderr
