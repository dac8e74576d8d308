"""The sweep of learning rates, on curves and models with a known answer."""

import io
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import lr_range_test

CURVATURE = 4.0
# Gradient descent on a parabola converges below 2 / curvature and not above.
LIMIT = 2 / CURVATURE


class Parabola(keras.Model):
    """Fits one number to noisy ones, from far away."""

    def __init__(self):
        super().__init__()
        self.number = self.add_weight(initializer="ones", name="number")
        self.mean = keras.metrics.Mean(name="loss")
        self.built = True

    def train_step(self, data):
        rate = self.optimizer.learning_rate
        with tf.GradientTape() as tape:
            error = self.number * 3 - data
            loss = tf.reduce_mean(error**2) * CURVATURE / 2 / 9
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        self.mean.update_state(loss)
        return {"loss": self.mean.result(), "learning_rate": rate}


def parabola():
    model = Parabola()
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def noise(step, num_steps):
    numbers = np.random.default_rng(0).normal(size=[num_steps, 32])
    return tf.data.Dataset.from_tensor_slices(numbers.astype(np.float32))


def sweep(**changes):
    arguments = {"low": 1e-3, "high": 50.0, "num_steps": 120}
    return lr_range_test.run(
        parabola(),
        noise,
        batch_size=32,
        stream=io.StringIO(),
        **arguments | changes,
    )


@pytest.fixture(scope="module")
def result():
    return sweep()


class TestRun:
    def test_names_a_rate_below_the_known_limit(self, result):
        assert LIMIT / 10 < result["largest_stable"] < 1.3 * LIMIT
        assert result["turned_up"]
        assert result["suggested"] < LIMIT
        assert result["suggested"] == pytest.approx(
            result["largest_stable"] / 3
        )

    def test_stops_when_it_has_diverged(self, result):
        rates = result["learning_rate"]
        assert LIMIT < rates[-1] < 50.0
        assert max(result["loss"]) < 1e6 * min(result["loss"])
        assert np.isfinite(result["loss"]).all()
        assert len(rates) == len(result["loss"]) < 120
        assert len(rates) == len(result["smoothed_loss"])

    def test_rates_grow_by_one_factor(self, result):
        rates = np.array(result["learning_rate"])
        assert rates[0] == pytest.approx(1e-3)
        np.testing.assert_allclose(
            rates[1:] / rates[:-1], 50_000 ** (1 / 119), rtol=1e-5
        )

    def test_losses_are_those_of_single_steps(self):
        # By hand: the loss that follows the update with each rate.
        got = sweep(num_steps=20, high=0.1)
        number, losses = 1.0, []
        batches = [batch.numpy() for batch in noise(0, 21)]
        for rate, batch, following in zip(
            got["learning_rate"], batches[:-1], batches[1:], strict=True
        ):
            slope = CURVATURE * np.mean(number * 3 - batch) * 3 / 9
            number -= rate * slope
            losses.append(np.mean((number * 3 - following) ** 2) * 2 / 9)
        np.testing.assert_allclose(got["loss"], losses, rtol=1e-4)

    def test_scale_is_divided_out(self, result):
        scaled = sweep(low=1e-3 / 4, high=50.0 / 4, scale=4.0)
        assert scaled["largest_stable"] == pytest.approx(
            result["largest_stable"] / 4
        )

    def test_nothing_found_below_the_limit_says_so(self):
        found = sweep(low=1e-3, high=0.1)
        assert not found["turned_up"]
        assert "--learning_rate=0.1" in lr_range_test.describe(found)

    def test_first_losses_must_be_finite(self):
        with pytest.raises(ValueError, match="`low` must be.*after 0 steps"):
            lr_range_test.run(
                parabola(),
                lambda step, n: noise(step, n).map(lambda x: x * math.nan),
                batch_size=32,
                stream=io.StringIO(),
            )

    @pytest.mark.parametrize(
        "changes",
        [{"low": 0.0}, {"high": 1e-4}, {"num_steps": 3}, {"scale": 0.0}],
    )
    def test_refuses(self, changes):
        [name] = changes
        with pytest.raises(ValueError, match=f"`{name}`.*Received"):
            sweep(**changes)


class TestLargestStable:
    rates = np.geomspace(1e-3, 10, 101)

    def scattered(self, losses):
        return losses + np.random.default_rng(0).normal(0, 0.01, len(losses))

    def test_where_a_valley_turns_up(self):
        # Lowest at index 60, a straight line to both sides.
        losses = self.scattered(5 + 0.03 * np.abs(np.arange(101) - 60))
        got = lr_range_test.largest_stable(self.rates, losses)
        assert self.rates[58] <= got <= self.rates[62]

    def test_end_of_a_level_floor(self):
        steps = np.arange(101)
        losses = 5 + 0.05 * np.maximum(30 - steps, 0)
        losses = self.scattered(losses + 0.2 * np.maximum(steps - 70, 0))
        got = lr_range_test.largest_stable(self.rates, losses)
        assert self.rates[66] <= got <= self.rates[72]

    def test_a_bump_as_low_as_the_scatter_does_not_count(self):
        losses = 7 - 0.03 * np.arange(101)
        losses += np.resize([0.2, -0.2], 101)
        losses[50:60] += 0.1
        got = lr_range_test.largest_stable(self.rates, losses)
        assert got == self.rates[-1]

    def test_a_later_fall_does_not_count(self):
        # As Adam's on the digits: up at 0.1, lower still at 10.
        losses = self.scattered(7 - 0.03 * np.arange(101))
        losses[50:80] += np.linspace(0, 2, 30)
        got = lr_range_test.largest_stable(self.rates, losses)
        assert self.rates[45] <= got <= self.rates[54]

    def test_none_if_nothing_was_learnt(self):
        losses = self.scattered(np.full(101, 5.0))
        losses[80:] += np.arange(21)
        assert lr_range_test.largest_stable(self.rates, losses) is None


class TestSmooth:
    def test_mean_of_the_neighbours_that_there_are(self):
        losses = np.random.default_rng(0).normal(size=30)
        expected = [
            np.mean(losses[max(i - 4, 0) : i + 5]) for i in range(len(losses))
        ]
        np.testing.assert_allclose(lr_range_test.smooth(losses), expected)


class TestDescribe:
    def test_names_the_flag_and_its_value(self, result):
        text = lr_range_test.describe(result)
        assert (
            f"largest stable learning rate: {result['largest_stable']:.2g}"
            in text
        )
        assert f"--learning_rate={result['suggested']:.2g}" in text

    def test_nothing_learnt(self, result):
        text = lr_range_test.describe(result | {"largest_stable": None})
        assert "did not fall" in text


class TestWrite:
    def test_json_and_picture(self, result, tmp_path):
        lr_range_test.write(result, tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["lr_range_test.json", "lr_range_test.png"]
        kept = json.loads((tmp_path / "lr_range_test.json").read_text())
        assert kept == result
        picture = tf.io.decode_png(
            (tmp_path / "lr_range_test.png").read_bytes()
        )
        assert picture.shape == [675, 1200, 4]

    def test_without_an_answer(self, result, tmp_path):
        nothing = {"largest_stable": None, "suggested": None}
        lr_range_test.write(result | nothing, tmp_path)
        assert (tmp_path / "lr_range_test.png").stat().st_size > 1000
