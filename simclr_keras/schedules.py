"""Learning rates: Google's step counts, batch scaling, warm-up and cosine."""

import math
import typing

import keras
import tensorflow as tf


class Plan(typing.NamedTuple):
    """Sizes of a training: images in a batch, and numbers of steps."""

    batch_size: int
    num_steps: int
    steps_per_epoch: int
    warmup_steps: int


def plan(
    num_examples,
    *,
    train_batch_size,
    train_epochs,
    train_steps=0,
    warmup_epochs=0.0,
):
    """The `Plan` of a training on so many examples.

    Args:
        num_examples: N; where it is smaller than the batch, it is the batch.
        train_batch_size: images per step over all replicas.
        train_epochs, train_steps: length; `train_steps` above 0 decides.
        warmup_epochs: float >= 0.
    """
    batch_size = min(train_batch_size, num_examples)
    return Plan(
        batch_size,
        total_steps(num_examples, train_epochs, batch_size, train_steps),
        num_examples // batch_size,
        warmup_steps(num_examples, warmup_epochs, batch_size),
    )


def total_steps(num_examples, train_epochs, train_batch_size, train_steps=0):
    """Number of updates: `train_steps` if given, else enough for the epochs.

    Google's count, floor(N * epochs / batch) + 1.
    """
    if train_steps:
        return train_steps
    return int(num_examples * train_epochs // train_batch_size) + 1


def warmup_steps(num_examples, warmup_epochs, train_batch_size):
    """floor(warmup_epochs * N / batch), as in Google's code."""
    return int(round(warmup_epochs * num_examples // train_batch_size))


def scaled_learning_rate(learning_rate, train_batch_size, scaling):
    """Peak learning rate for a global batch (SimCLR, appendix B.1).

    Args:
        learning_rate: base value.
        train_batch_size: global batch size.
        scaling: "linear" (learning_rate * batch / 256) or "sqrt"
            (learning_rate * sqrt(batch)).

    Raises:
        ValueError: if `scaling` is neither.
    """
    if scaling == "linear":
        return learning_rate * train_batch_size / 256
    if scaling == "sqrt":
        return learning_rate * math.sqrt(train_batch_size)
    raise ValueError(
        '`scaling` must be one of "linear", "sqrt". '
        f"Received: scaling={scaling!r}"
    )


@keras.saving.register_keras_serializable("simclr_keras")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then half a cosine down to 0.

    The first update, at step 0, has learning rate 0, as in Google's code;
    so has every step from `total_steps` on.

    Args:
        peak: float >= 0, learning rate at the end of the warm-up.
        warmup_steps: int >= 0, updates before the peak; 0 starts there.
        total_steps: int > warmup_steps, updates until the rate is 0.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, peak, warmup_steps, total_steps):
        super().__init__()
        if not peak >= 0:
            raise ValueError(
                f"`peak` must be at least 0. Received: peak={peak}"
            )
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "`warmup_steps` must be at least 0 and less than "
                f"`total_steps`. Received: warmup_steps={warmup_steps}, "
                f"total_steps={total_steps}"
            )
        self.peak = float(peak)
        self.warmup_steps = int(warmup_steps)
        self.total_steps = int(total_steps)

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warming = self.peak * step / max(self.warmup_steps, 1)
        after = (step - self.warmup_steps) / (
            self.total_steps - self.warmup_steps
        )
        cooling = self.peak * 0.5 * (1 + tf.cos(math.pi * tf.minimum(after, 1)))
        return tf.where(step < self.warmup_steps, warming, cooling)

    def get_config(self):
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }
