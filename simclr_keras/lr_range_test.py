"""A short sweep of growing learning rates, to find the largest stable one.

After the range test of Smith (arXiv:1506.01186, section 3.3), which raises the
learning rate while training and reads from the plot where accuracy stops
improving. Here the rate grows exponentially instead of linearly, over a few
hundred steps instead of several epochs; what is watched is the loss; and the
place is found by the rule of `largest_stable` instead of by eye.
"""

import math
import os

import keras
import numpy as np
import tensorflow as tf

from simclr_keras import callbacks
from simclr_keras import run_files

# From well below what Adam needs to well above what LARS endures.
LOW, HIGH = 1e-5, 100.0
# 30 steps for each factor of ten: momentum of 0.9 acts over 10 of them, so
# the loss shows a rate that is too high before it has doubled.
NUM_STEPS = 210
# Steps of the moving average: as long as momentum acts, so that it hides the
# noise of single batches and shifts the turning point no further.
_SMOOTHED_STEPS = 9
# A loss this many times its lowest mean is not coming back: NT-Xent at chance
# level is hardly 1.3 times what a sweep reaches.
_DIVERGED = 1.5
# The sweep passes each rate in a moment; a whole run at it meets more.
SUGGESTED_SHARE = 1 / 3


def run(
    model,
    batches,
    *,
    batch_size,
    low=LOW,
    high=HIGH,
    num_steps=NUM_STEPS,
    scale=1.0,
    stream=None,
):
    """Trains with a rate that grows until the loss turns up.

    Stops early when the loss is not finite, or is half as high again as the
    lowest mean of a few steps. The weights are of no use afterwards.

    Args:
        model: compiled `SimCLR` that has not been trained; its optimizer's
            learning rate is replaced.
        batches: (first step, number of steps) -> dataset of these batches.
        batch_size: images per step over all replicas.
        low, high: floats, 0 < low < high, first and last rate.
        num_steps: int >= 20, updates from one to the other.
        scale: float > 0, the optimizer's learning rate per unit of the rates
            given and returned, as from `schedules.scaled_learning_rate`.
        stream: where to show progress; standard output by default.

    Returns:
        Dict, ready for JSON: `learning_rate` and `loss`, lists of floats, the
        latter of the batch after the update with that rate; `smoothed_loss`;
        `chance_level`; `largest_stable`, see that function, and `suggested`, a
        third of it; `turned_up`, whether a higher rate was seen to be worse.
        Of a loss that never fell, `largest_stable` and `suggested` are None.

    Raises:
        ValueError: if a number is out of range, or not even the first losses
            are finite.
    """
    _check(low, high, num_steps, scale)
    optimizer = model.optimizer
    optimizer.learning_rate = _Sweep(low * scale, high * scale, num_steps)
    optimizer.iterations.assign(0)
    model.make_train_function(force=True)
    recorded = _Record()
    bar = callbacks.ProgressBar(num_steps + 1, 0, batch_size, stream=stream)
    model.fit(
        # The loss of a step is that of the weights before it.
        batches(0, num_steps + 1),
        steps_per_epoch=num_steps + 1,
        callbacks=[bar, recorded],
        shuffle=False,
        verbose=0,
    )
    bar.close()
    rates = [rate / scale for rate in recorded.rates[:-1]]
    return {
        "learning_rate": rates,
        "loss": recorded.losses[1:],
        "chance_level": math.log(2 * batch_size - 1),
        **_found(rates, recorded.losses[1:]),
    }


def smooth(losses):
    """Centred moving average over 9 steps, fewer at both ends; [n] -> [n]."""
    kernel = np.ones(_SMOOTHED_STEPS)
    counts = np.convolve(np.ones(len(losses)), kernel, "full")
    sums = np.convolve(losses, kernel, "full")
    half = _SMOOTHED_STEPS // 2
    return (sums / counts)[half : half + len(losses)]


def largest_stable(rates, losses):
    """The last rate before the smoothed loss turns up.

    With single losses that scatter by s, their moving average does by s / 3.
    It has turned up where it is above its lowest value so far by more than
    1.5 s; the rate named is the last before that where it is level with the
    lowest, within s / 2. What follows does not count: behind batch norm the
    weights grow until a rate that is too high does less, and the loss may
    fall again.

    Args:
        rates: [n] floats, growing.
        losses: [n] finite floats.

    Returns:
        One of `rates`, the last if the loss does not turn up; None if it does
        not fall by more than 2 s before.
    """
    smoothed = smooth(losses)
    # Of a median, so that the divergence at the end does not count.
    scatter = 1.5 * float(np.median(np.abs(losses - smoothed)))
    lowest = np.minimum.accumulate(smoothed)
    (up,) = np.nonzero(smoothed > lowest + 1.5 * scatter)
    stop = up[0] if len(up) else len(smoothed)
    # The first means are of few steps; one of a full window is compared.
    start = _SMOOTHED_STEPS // 2
    if stop <= start or smoothed[start] - lowest[stop - 1] <= 2 * scatter:
        return None
    if not len(up):
        return rates[-1]
    (level,) = np.nonzero(smoothed[:stop] <= lowest[stop - 1] + scatter / 2)
    return rates[level[-1]]


def describe(result):
    """What a sweep found, in a few lines of text."""
    rates, stable = result["learning_rate"], result["largest_stable"]
    span = f"from {rates[0]:.2g} to {rates[-1]:.2g}"
    if stable is None:
        return (
            f"the loss did not fall with any learning rate {span}: look at "
            "the data, the augmentation and the temperature"
        )
    if not result["turned_up"]:
        return (
            f"the loss fell with every learning rate {span}; the largest "
            f"stable one is higher. Safe to try: --learning_rate={stable:.2g}"
        )
    return (
        f"largest stable learning rate: {stable:.2g} (tried {span}; above it "
        "the loss rises)\n"
        f"suggested: --learning_rate={result['suggested']:.2g}, a third of it"
    )


def write(result, folder):
    """Writes `lr_range_test.json` and `lr_range_test.png`, whole or not.

    Args:
        result: of `run`.
        folder: existing folder.
    """
    run_files.write_json(os.path.join(folder, "lr_range_test.json"), result)
    path = os.path.join(folder, "lr_range_test.png")
    partial = f"{path}.partial"
    _figure(result).savefig(partial, format="png", dpi=150)
    os.replace(partial, path)


@keras.saving.register_keras_serializable("simclr_keras")
class _Sweep(keras.optimizers.schedules.LearningRateSchedule):
    """Exponential growth from `low` to `high`, where it stays."""

    def __init__(self, low, high, num_steps):
        super().__init__()
        self.low = low
        self.high = high
        self.num_steps = num_steps

    def __call__(self, step):
        part = tf.cast(step, tf.float32) / (self.num_steps - 1)
        return self.low * (self.high / self.low) ** tf.minimum(part, 1.0)

    def get_config(self):
        return {
            "low": self.low,
            "high": self.high,
            "num_steps": self.num_steps,
        }


class _Record(keras.callbacks.Callback):
    """Keeps rates and losses; ends the sweep when it has diverged."""

    def __init__(self):
        super().__init__()
        self.rates = []
        self.losses = []
        self._lowest = math.inf

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self.model.stop_training = True
            return
        self.rates.append(float(logs["learning_rate"]))
        self.losses.append(loss)
        # Keras logs the mean of the epoch so far.
        self.model.reset_metrics()
        if len(self.losses) >= _SMOOTHED_STEPS:
            mean = np.mean(self.losses[-_SMOOTHED_STEPS:])
            self._lowest = min(self._lowest, mean)
            if mean > _DIVERGED * self._lowest:
                self.model.stop_training = True


def _found(rates, losses):
    if len(losses) < _SMOOTHED_STEPS:
        raise ValueError(
            "`low` must be a learning rate that the model endures. "
            f"Received: a loss that is not finite after {len(losses)} steps"
        )
    stable = largest_stable(rates, losses)
    return {
        "smoothed_loss": smooth(losses).tolist(),
        "largest_stable": stable,
        "suggested": stable and stable * SUGGESTED_SHARE,
        "turned_up": stable is not None and stable < rates[-1],
    }


def _figure(result):
    # Slow to import, and without use for all other runs.
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    backend_agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rates = result["learning_rate"]
    axes.plot(rates, result["loss"], color="0.75", linewidth=1, label="loss")
    axes.plot(
        rates,
        result["smoothed_loss"],
        color="C0",
        linewidth=2,
        label="smoothed",
    )
    axes.axhline(
        result["chance_level"], color="0.4", linestyle=":", label="chance level"
    )
    for name, style in (("suggested", "--"), ("largest_stable", "-")):
        if result[name] is not None:
            label = f"{name.replace('_', ' ')}: {result[name]:.2g}"
            axes.axvline(result[name], color="C3", linestyle=style, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("learning_rate")
    axes.set_ylabel("loss")
    # A diverged end must not press the rest flat.
    axes.set_ylim(*_limits(result))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _limits(result):
    """Of the loss axis: all that matters, with room around."""
    losses, chance = result["loss"], result["chance_level"]
    cap = max(result["smoothed_loss"][0], 1.25 * chance)
    low, high = min(*losses, chance), max(min(max(losses), cap), chance)
    room = 0.05 * (high - low)
    return low - room, high + room


def _check(low, high, num_steps, scale):
    if not 0 < low < high < math.inf:
        raise ValueError(
            "`low` and `high` must be finite, with 0 < low < high. "
            f"Received: low={low}, high={high}"
        )
    if num_steps < 2 * _SMOOTHED_STEPS + 2:
        raise ValueError(
            f"`num_steps` must be at least {2 * _SMOOTHED_STEPS + 2}. "
            f"Received: num_steps={num_steps}"
        )
    if not 0 < scale < math.inf:
        raise ValueError(
            f"`scale` must be greater than 0. Received: scale={scale}"
        )
