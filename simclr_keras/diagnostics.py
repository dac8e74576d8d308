"""Warns once of what spoils a run, with the likely cause and what to change.

Google's code shows a loss and leaves the rest to its reader. Messages name the
command line's flag; the argument of the library has the same or a similar name.
"""

import math
import sys

import keras
import numpy as np
import tqdm

from simclr_keras import callbacks

# Steps whose mean is judged. On the digits the loss of one step scatters by
# 0.1 about its course, a mean of 50 by 0.015.
WINDOW = 50
# No loss is judged before that step, nor in the first quarter of the warm-up.
# First steps are above chance in a healthy run as well, because the views of
# an untrained encoder are alike: until step 30 on the digits.
FIRST_JUDGED_STEP = 100
# A mean this far above the lowest before, in nats, is a rise: more than ten
# times the scatter of a mean, as the lowest of very many means is low by luck.
RISE = 0.2
# Embeddings spread less than that have collapsed: 1 fills the sphere, healthy
# runs on the digits stay above 0.2, a single point has 0.
COLLAPSED_STD = 0.05
# Above this share of waiting, images cost more time than training gains from
# a faster device.
WAIT_SHARE = 1 / 3
# Views no further apart than half a level of 8 bits are the same image.
SAME_VIEW = 0.5 / 255
# Half the pairs alike is no accident of a mild augmentation.
SAME_VIEWS_SHARE = 0.5
# Enough to tell whether views differ, whatever the batch.
_VIEWED_IMAGES = 64
# In 5 % false negatives the gradient begins to be about them; small data sets
# have a few duplicates by nature.
DUPLICATES_SHARE = 0.05


def print_warning(message):
    """Prints to standard error, above a progress bar if there is one."""
    tqdm.tqdm.write(f"warning: {message}", file=sys.stderr)


class Diagnostics(keras.callbacks.Callback):
    """Watches loss, embeddings and waiting; warns once for each cause.

    Means are taken over windows of 50 steps.

    Args:
        batch_size: G, images per step over all replicas; sets the chance level
            ln(2G - 1).
        steps_per_epoch: int, steps over which the model's metrics are means.
        warmup_steps: int, steps in which the learning rate grows.
        first_step: updates done before.
        wait_clock: as for `callbacks.Throughput`; None if nothing measures
            it, or something else than the waiting of the training loop.
        warn: function of a text.
    """

    def __init__(
        self,
        batch_size,
        steps_per_epoch,
        warmup_steps=0,
        first_step=0,
        wait_clock=None,
        warn=print_warning,
    ):
        super().__init__()
        self.chance = math.log(2 * batch_size - 1)
        self.done = first_step
        self.warn = warn
        self._first_judged = max(FIRST_JUDGED_STEP, warmup_steps // 4)
        self._loss = _StepMeans("loss", steps_per_epoch)
        self._std = _StepMeans("embedding_std", steps_per_epoch)
        self._lowest = math.inf
        self._rate = callbacks.Throughput(batch_size, wait_clock)
        self._timed = None
        self._said = set()

    def on_train_batch_end(self, batch, logs=None):
        self._loss.add(self.done, logs)
        self._std.add(self.done, logs)
        self.done += 1
        self._watch_waiting()
        if self.done % WINDOW:
            return
        loss, std = self._loss.mean(), self._std.mean()
        if loss is None:
            return
        if self.done >= self._first_judged:
            self._judge(loss, std, float(logs["learning_rate"]))
        self._lowest = min(self._lowest, loss)

    def _judge(self, loss, std, rate):
        # A cause often shows in several ways; the most telling one is said.
        if std < COLLAPSED_STD:
            self._say("collapse", _collapse(self.done, std, rate))
        elif loss > self._lowest + RISE:
            self._say("rise", _rise(self.done, loss, self._lowest, rate))
        elif loss >= self.chance:
            self._say("chance", _chance(self.done, loss, self.chance, rate))

    def _watch_waiting(self):
        if self._rate.wait_clock is None:
            return
        # The first step traces the graph; it says nothing about speed.
        if self._timed is None or self._timed == WINDOW:
            share = self._rate.values()["data_wait"]
            if self._timed and share > WAIT_SHARE:
                self._say("waiting", _waiting(share))
            self._rate.start()
            self._timed = 0
        else:
            self._timed += 1

    def _say(self, cause, message):
        if cause not in self._said:
            self._said.add(cause)
            self.warn(message)


class _StepMeans:
    """Means over a window of steps, from means over the epoch so far.

    Args:
        name: of the metric.
        steps_per_epoch: steps after which the means start anew.
    """

    def __init__(self, name, steps_per_epoch):
        self.name = name
        self.steps_per_epoch = steps_per_epoch
        self._sum = None
        self._values = []

    def add(self, step, logs):
        place = step % self.steps_per_epoch
        total = float(logs[self.name]) * (place + 1)
        if place == 0:
            self._values.append(total)
        elif self._sum is not None:
            self._values.append(total - self._sum)
        # Else the run went on inside an epoch, and the mean of the steps
        # before is not known.
        self._sum = total
        del self._values[:-WINDOW]

    def mean(self):
        """Of the last `WINDOW` steps; None if there were not so many yet."""
        if len(self._values) < WINDOW:
            return None
        return sum(self._values) / WINDOW


def check_first_batch(model, images, step=0, warn=print_warning):
    """Warns if a batch cannot teach: views alike, or images many times.

    Args:
        model: `SimCLR`.
        images: the batch as `fit` takes it, without labels, uint8 or float.
            Of images that are cropped beforehand, [B, 2, S, S, 3], duplicates
            cannot be told.
        step: int, for the views that training will see.
        warn: function of a text.
    """
    some = images[:_VIEWED_IMAGES]
    first, second = np.split(np.asarray(model.views(some, step)), 2)
    distances = np.abs(first - second).max(axis=(1, 2, 3))
    share = float(np.mean(distances < SAME_VIEW))
    if share > SAME_VIEWS_SHARE:
        warn(_same_views(share))
    if len(images.shape) == 4:
        check_duplicates(np.asarray(images), warn)


def check_duplicates(images, warn=print_warning):
    """Warns if many images of a batch are there more than once.

    Args:
        images: array [B, ...], or numbers [B] that only identical images
            share, such as `Split.contents`.
        warn: function of a text.
    """
    rows = [hash(row.tobytes()) for row in np.asarray(images)]
    _, counts = np.unique(rows, return_counts=True)
    share = float(counts[counts > 1].sum() / len(rows))
    if share > DUPLICATES_SHARE:
        warn(_duplicates(share, len(rows), int(counts.max())))


def _rise(step, loss, lowest, rate):
    return (
        f"the loss rises: {loss:.3f} over the {WINDOW} steps before step "
        f"{step}, {lowest:.3f} at its lowest. The learning rate, {rate:.3g} "
        "now, is the usual cause: lower --learning_rate to a third of its "
        f"value, which makes this {rate / 3:.3g}, in a new --model_dir; "
        "--lr_range_test finds the largest that is stable"
    )


def _chance(step, loss, chance, rate):
    return (
        f"nothing learnt by step {step}: the loss, {loss:.3f} over {WINDOW} "
        f"steps, is not below the chance level of {chance:.3f}. Likely "
        f"causes: a learning rate too high or too low, {rate:.3g} now (see "
        "--lr_range_test); an augmentation that leaves nothing in common "
        "between two views (lower --color_jitter_strength); a temperature "
        "too low (raise --temperature)"
    )


def _collapse(step, std, rate):
    return (
        f"embeddings have collapsed into nearly one point by step {step}: "
        f"embedding_std {std:.3g}, where 0.2 and more is usual. The learning "
        f"rate, {rate:.3g} now, is the usual cause: lower --learning_rate to "
        f"a third of its value, which makes this {rate / 3:.3g}, in a new "
        "--model_dir"
    )


def _waiting(share):
    return (
        f"training waited for images {share:.0%} of the time in the last "
        f"{WINDOW} steps. They are read and decoded anew in each epoch: make "
        "the files smaller (about twice --image_size), put them on a local "
        "disk, or give the run more CPU cores. Images that are all of one "
        "size and take up to 4 GiB as pixels, as files or in one .npz, are "
        "decoded once and held in memory"
    )


def _same_views(share):
    return (
        f"the two views are the same in {share:.0%} of the first images, so "
        "there is nothing to learn from telling them apart. Is augmentation "
        "off, or are the images blank? Raise --color_jitter_strength, and "
        "see --crop and --flip_probability"
    )


def _duplicates(share, num_images, most):
    return (
        f"{share:.0%} of the {num_images} images of a batch are there more "
        f"than once, one of them {most} times. Identical images are each "
        "other's negatives: the loss pushes apart what it should pull "
        "together. Remove duplicates from --dataset"
    )
