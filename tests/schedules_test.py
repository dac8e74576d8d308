"""Step counts and learning rates against Google's schedule."""

import keras
import numpy as np
import pytest

from simclr_keras import schedules
from simclr_keras.schedules import WarmupCosine
from tests import golden

SCHEDULE = golden.npz("schedule.npz")
SETTINGS = sorted(k for k in SCHEDULE if k.startswith("s") and "_" not in k)


@pytest.fixture(params=SETTINGS)
def setting(request):
    given = golden.text(SCHEDULE[request.param])
    recorded = {
        key.removeprefix(request.param + "_"): value
        for key, value in SCHEDULE.items()
        if key.startswith(request.param + "_")
    }
    return given, recorded


def counts(given):
    return (
        schedules.warmup_steps(
            given["num_examples"],
            given["warmup_epochs"],
            given["train_batch_size"],
        ),
        schedules.total_steps(
            given["num_examples"],
            given["train_epochs"],
            given["train_batch_size"],
            given["train_steps"],
        ),
    )


class TestGoogle:
    def test_step_counts_and_peak(self, setting):
        given, recorded = setting
        peak = schedules.scaled_learning_rate(
            given["learning_rate"],
            given["train_batch_size"],
            given["learning_rate_scaling"],
        )
        assert counts(given) == (
            recorded["warmup_steps"],
            recorded["total_steps"],
        )
        np.testing.assert_allclose(peak, recorded["scaled_lr"], rtol=1e-12)

    def test_learning_rate_at_every_step(self, setting):
        given, recorded = setting
        peak = float(recorded["scaled_lr"])
        schedule = WarmupCosine(peak, *counts(given))
        rates = [schedule(step) for step in recorded["steps"]]
        np.testing.assert_allclose(rates, recorded["lr"], atol=1e-6 * peak)


class TestWarmupCosine:
    def test_by_hand(self):
        schedule = WarmupCosine(2.0, warmup_steps=4, total_steps=12)
        expected = {0: 0.0, 1: 0.5, 4: 2.0, 8: 1.0, 12: 0.0, 99: 0.0}
        rates = {step: float(schedule(step)) for step in expected}
        assert rates == pytest.approx(expected, abs=1e-6)

    def test_survives_serialisation(self):
        schedule = WarmupCosine(2.0, 4, 12)
        copy = keras.optimizers.schedules.deserialize(
            keras.optimizers.schedules.serialize(schedule)
        )
        assert copy.get_config() == schedule.get_config()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((-1.0, 0, 10), "`peak` must be at least 0"),
            ((1.0, -1, 10), "`warmup_steps` must be"),
            ((1.0, 10, 10), "`warmup_steps` must be"),
        ],
    )
    def test_errors(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            WarmupCosine(*arguments)


def test_unknown_scaling():
    with pytest.raises(ValueError, match="`scaling` must be one of"):
        schedules.scaled_learning_rate(0.3, 256, "square")
