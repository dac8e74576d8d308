"""A tiny run, made alike under any strategy, for tests that compare them."""

import keras
import numpy as np

import simclr_keras
from simclr_keras import distribution
from simclr_keras import normalization
from simclr_keras.data import pipelines
from simclr_keras.data import splits
from simclr_keras.simclr import SimCLR

BATCH, STEPS, SIZE = 16, 4, 8
NUM_EXAMPLES = STEPS * BATCH


def split():
    """Images in memory; two of three have a label, unevenly spread."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [NUM_EXAMPLES, SIZE, SIZE, 3], np.uint8)
    labels = np.where(rng.random(NUM_EXAMPLES) < 0.5, -1, np.arange(64) % 3)
    return splits.ArraySplit(images, labels)


def lars():
    """With steps large enough to see, and small enough not to diverge."""
    schedule = simclr_keras.WarmupCosine(0.1, 1, 10 * STEPS)
    return simclr_keras.LARS(schedule, trust_coefficient=0.1)


def model(
    strategy=None,
    *,
    policy="float32",
    optimizer=None,
    batch_norm=True,
    **arguments,
):
    """A ResNet's stem, with LARS and a probe."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    with distribution.scope(strategy):
        inputs = keras.Input([SIZE, SIZE, 3])
        x = keras.layers.Conv2D(6, 3, use_bias=False, name="conv")(inputs)
        if batch_norm:
            x = normalization.BatchNormalization(name="norm")(x)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        made = SimCLR(
            keras.Model(inputs, x),
            simclr_keras.projection_head(features=6, layers=2, out_dim=4),
            simclr_keras.augmenter(SIZE, blur=False, jit_compile=False),
            num_classes=3,
            temperature=0.5,
            **arguments,
        )
        made.compile(optimizer() if optimizer else lars())
    return made


def batches(strategy=None, first_step=0, num_steps=STEPS):
    """What `fit` takes."""
    images = split()

    def dataset(*replicas):
        return pipelines.pretraining(
            images,
            BATCH,
            image_size=SIZE,
            seed=3,
            first_step=first_step,
            num_steps=num_steps,
            replicas=replicas,
        )

    return distribution.per_replica(strategy, dataset)


class Steps(keras.callbacks.Callback):
    """Keeps what each step logged."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({k: float(v) for k, v in logs.items()})


def trained(made, strategy=None, first_step=0, num_steps=STEPS):
    """What `fit` logged, step by step."""
    seen = Steps()
    made.fit(
        batches(strategy, first_step, num_steps),
        steps_per_epoch=num_steps,
        callbacks=[seen],
        shuffle=False,
        verbose=0,
    )
    return seen.logs


def weights(made):
    """All weights in order, batch norm's moving statistics too."""
    return [w.numpy() for w in made.weights]


def largest_difference(ours, theirs):
    """Over all entries of two lists of arrays, or dicts of numbers."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = ours.values(), [theirs[key] for key in ours]
    return max(
        np.abs(np.float64(a) - np.float64(b)).max()
        for a, b in zip(ours, theirs, strict=True)
    )
