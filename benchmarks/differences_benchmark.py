"""How far replicas and micro-batches lead from one device's plain step.

    PYTHONPATH=. python benchmarks/differences_benchmark.py

The tests' small model (convolution, batch norm, projection head with batch
norm, probe) takes five LARS steps of 16 images in each way: on 1, 2 and 4
logical CPU devices, at once or in micro-batches, with and without batch norm
in the encoder, in three precisions. The table has the largest absolute
difference between all weights and moving statistics of two runs. One process
per number of replicas, since one can hold one such strategy.
"""

import argparse
import itertools
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from simclr_keras import distribution
from simclr_keras import run_files
from tests import small_run

REPLICAS = (1, 2, 4)
PRECISIONS = ("float32", "bfloat16", "float16")
STEPS = 5
# Images that all replicas together encode at a time.
MICRO_BATCH = 8
# Keras' own first scale overflows here, and steps would be skipped.
LOSS_SCALE = 128.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicas", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replicas:
        np.savez(arguments.output, **runs_on(arguments.replicas))
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for number in REPLICAS:
            runs |= in_a_process(number, pathlib.Path(folder, "runs.npz"))
    print(
        f"{run_files.processor()}, {os.cpu_count()} cores, "
        f"python {platform.python_version()}, tensorflow {tf.__version__}, "
        f"keras {keras.__version__}; {STEPS} steps, n=1\n"
    )
    report(runs)


def in_a_process(num_replicas, output):
    """What `runs_on` returns there."""
    subprocess.run(
        [
            *(sys.executable, __file__),
            *(f"--replicas={num_replicas}", f"--output={output}"),
        ],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
    )
    return dict(np.load(output))


def runs_on(num_replicas):
    """{name of a run: all its weights, flat} on so many replicas."""
    name = "mirrored" if num_replicas > 1 else "one"
    strategy = distribution.strategy(name, num_replicas)
    found = {}
    for precision, norm in itertools.product(PRECISIONS, (True, False)):
        for name, steps, size, parts_of in plans(num_replicas, norm):
            model = model_of(strategy, precision, norm, size)
            if parts_of:
                model.encoder = InParts(model.encoder, parts_of)
            train(model, strategy, steps)
            found[f"{precision} {norm} {name}"] = flat(model)
    return found


def plans(num_replicas, norm):
    """(name, steps, micro_batch_size, replicas that `InParts` stands for)."""
    yield f"{num_replicas} at once", STEPS, None, 0
    yield f"{num_replicas} micro", STEPS, MICRO_BATCH // num_replicas, 0
    if num_replicas == 1:
        yield "start", 0, None, 0
        # Without batch norm these are the same as the plain run.
        for number in REPLICAS if norm else ():
            yield f"in parts of {number}", STEPS, None, number


def model_of(strategy, precision, norm, micro_batch_size):
    policy = precision if precision == "float32" else f"mixed_{precision}"

    def scaled():
        return keras.optimizers.LossScaleOptimizer(
            small_run.lars(), initial_scale=LOSS_SCALE
        )

    return small_run.model(
        strategy,
        policy=policy,
        optimizer=scaled if precision == "float16" else None,
        batch_norm=norm,
        micro_batch_size=micro_batch_size,
    )


def train(model, strategy, steps):
    if steps:
        small_run.trained(model, strategy, num_steps=steps)
    done = int(model.optimizer.iterations.numpy())
    if done != steps:
        raise RuntimeError(
            f"{done} steps instead of {steps}: others overflowed"
        )


def flat(model):
    parts = model.encoder, model.projection_head, model.linear_probe
    weights = [w.numpy().ravel() for part in parts for w in part.weights]
    return np.concatenate(weights)


class InParts(keras.Model):
    """An encoder that is called for one micro-batch of all replicas at a time.

    Args:
        encoder: built `keras.Model`.
        num_replicas: int; rows are those of the replicas in turn, and each
            has its share of every micro-batch.
    """

    def __init__(self, encoder, num_replicas):
        super().__init__()
        self.inner = encoder
        self.num_replicas = num_replicas
        self.built = True

    def call(self, views, training=False):
        share = MICRO_BATCH // self.num_replicas
        image = views.shape[1:]
        shape = [2, self.num_replicas, -1, share, *image]
        parts = tf.unstack(
            tf.reshape(views, shape), small_run.BATCH // MICRO_BATCH, 2
        )
        embedded = [
            tf.reshape(
                self.inner(tf.reshape(part, [-1, *image]), training=training),
                [2, self.num_replicas, share, -1],
            )
            for part in parts
        ]
        h = tf.stack(embedded, axis=2)
        return tf.reshape(h, [2 * small_run.BATCH, h.shape[-1]])


def report(runs):
    """Prints the table, in Markdown."""
    line("encoder", "run", "differs from", *PRECISIONS)
    line(*["---"] * (3 + len(PRECISIONS)))
    plain = "1 at once"
    for norm, encoder in ((True, "with batch norm"), (False, "without")):
        pairs = [(plain, "start")]
        pairs += [(f"{number} at once", plain) for number in REPLICAS[1:]]
        for number in REPLICAS:
            other = f"in parts of {number}" if norm else plain
            pairs.append((f"{number} micro", other))
        for pair in pairs:
            line(encoder, *map(words, pair), *differences(runs, norm, *pair))


def differences(runs, norm, one, other):
    for precision in PRECISIONS:
        ours, theirs = (
            runs[f"{precision} {norm} {name}"] for name in (one, other)
        )
        yield f"{np.abs(ours - theirs).max():.1e}"


def words(name):
    """A run's name for people."""
    if name == "start":
        return "its own start"
    if name.startswith("in parts"):
        return "1 replica at once, encoder called for these micro-batches"
    number, way = name.split(" ", 1)
    replicas = "replica" if number == "1" else "replicas"
    way = "in micro-batches" if way == "micro" else way
    return f"{number} {replicas} {way}"


def line(*cells):
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
