"""Two workers that are killed again and again end as if nothing had happened.

Real processes and real signals. Run with -s, the test prints its figures.
"""

import os
import signal
import time

import pytest

from tests import kill_test
from tests import workers

# On one machine the ports of the killed must be free again; new ones are
# taken each time.
STEPS, EVERY, KILLS = kill_test.STEPS, kill_test.EVERY, kill_test.KILLS


def start(model_dir, step=0, place="step", victim=0):
    """Both workers; `victim` kills itself at a step, see `kill_test.RUN`."""
    own = [(str(step) if index == victim else "0", place) for index in range(2)]
    return workers.start(
        f"--model_dir={model_dir}",
        f"--train_steps={STEPS}",
        f"--checkpoint_steps={EVERY}",
        "--mode=train",
        "--noexport",
        program=("-c", kill_test.RUN, workers.ROOT),
        first=own,
    )


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    for _, stderr, code in workers.finish(start(tmp_path / "whole")):
        assert code == 0, stderr
    resumed, waited = 0, []
    for number, (step, place) in enumerate(kill_test.kills(seed=2)):
        # Only the chief writes, so that only it can die while it does.
        victim = number % 2 if place == "step" else 0
        processes = start(tmp_path / "killed", step, place, victim)
        processes[victim].wait(timeout=300)
        began = time.monotonic()
        answers = workers.finish(processes)
        waited.append(time.monotonic() - began)
        codes = [code for *_, code in answers]
        assert codes[victim] == -signal.SIGKILL, answers[victim][1]
        assert codes[1 - victim] != 0
        resumed += "resuming at step" in answers[0][0]
    answers = workers.finish(start(tmp_path / "killed"))
    for _, stderr, code in answers:
        assert code == 0, stderr
    assert "resuming at step" in answers[0][0]
    print(
        f"{KILLS} kills, {resumed + 1} resumes; the other worker ended within "
        f"{max(waited):.1f} s on {os.cpu_count()} cores"
    )
    kill_test.check_same_end(tmp_path / "whole", tmp_path / "killed")
