"""Memory and time of a training step: the batch at once, or in micro-batches.

    PYTHONPATH=. python benchmarks/large_batch_benchmark.py

`SimCLR.train_step` (augmentation, forward, NT-Xent, backward, LARS) of a
ResNet-18 on random images of 32 px, handed over as uint8. Each row is a
process of its own. "peak" is its largest resident set, "above import" how far
that is above the largest until the packages were imported. Tracing and XLA's
compilation of the augmentation are not timed. A row that would not fit into
the memory that is free, going by the smaller batches, is not run.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import psutil

from simclr_keras import run_files

IMAGE_SIZE = 32
WARM_UP = 64  # images whose augmentation makes XLA compile
# The first step of a row counts only if it takes longer; it is then the only
# one. Else others follow, until they have taken so long together.
FIRST_SECONDS, ALL_SECONDS = 60, 180


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[256, 1024, 4096, 8192]
    )
    parser.add_argument("--micro_batch", type=int, default=256)
    parser.add_argument("--width", type=float, default=1, help="of the ResNet")
    parser.add_argument("--steps", type=int, default=5, help="at most, a row")
    parser.add_argument("--measure", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure, arguments)))
        return
    describe(arguments)
    rows = {}
    for batch in sorted(arguments.batches):
        for micro in (0, arguments.micro_batch):
            # A single micro-batch is the plain step.
            if batch > micro:
                rows[batch, micro] = row(batch, micro, rows, arguments)
    compare({key: found for key, found in rows.items() if found})


def describe(arguments):
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tensorflow", "keras", "keras-cv")
    )
    print(
        f"{run_files.processor()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GB, "
        f"load {os.getloadavg()[0]:.1f}; python {platform.python_version()}, "
        f"{versions}\nResNet-18, width {arguments.width:g}, {IMAGE_SIZE} px\n\n"
        " batch  encoded     peak MB  above import   n  seconds, median "
        "(min .. max)   ms/image",
        flush=True,
    )


def row(batch, micro, rows, arguments):
    """Prints a row; returns what was measured, None if it does not fit."""
    way = f"{micro} a time" if micro else "at once"
    print(f"{batch:6}  {way:10}", end="", flush=True)
    smaller = [r for (_, m), r in rows.items() if m == micro and r]
    needed = needed_megabytes(batch, micro, smaller)
    if needed > psutil.virtual_memory().available / 2**20:
        print(f"  needs about {needed / 1024:.0f} GB", flush=True)
        return None
    command = [sys.executable, __file__, f"--width={arguments.width}"]
    command += [f"--steps={arguments.steps}", "--measure", batch, micro]
    answer = subprocess.run(
        map(str, command), capture_output=True, text=True, check=False
    )
    if answer.returncode:
        # Such as -9 from a kernel that is out of memory.
        print(f"  ended with {answer.returncode}\n{answer.stderr}", flush=True)
        return None
    found = json.loads(answer.stdout.splitlines()[-1]) | {"batch": batch}
    seconds = found["seconds"]
    print(
        f"{found['peak']:9.0f}  {found['peak'] - found['import']:12.0f}"
        f"  {len(seconds):2}  {np.median(seconds):8.2f}"
        f" ({min(seconds):.2f} .. {max(seconds):.2f})"
        f"  {1e3 * np.median(seconds) / batch:8.1f}",
        flush=True,
    )
    return found


def needed_megabytes(batch, micro, smaller):
    """Peak to expect from those of smaller batches: they lie on a line."""
    points = [(found["batch"], found["peak"]) for found in smaller]
    if len(points) < 2:
        if micro or not points:
            return 0
        points.append((0, smaller[0]["before"]))
    return np.polyval(np.polyfit(*zip(*points, strict=True), 1), batch)


def compare(rows):
    """Prints what micro-batches save, and what they cost."""
    at_once = {batch: found for (batch, m), found in rows.items() if not m}
    cached = {batch: found for (batch, m), found in rows.items() if m}
    if not at_once or not cached:
        return
    smallest, largest = min(at_once), max(cached)
    for name, subtracted in (("peak", 0), ("peak above import", 1)):
        low, high = (
            found["peak"] - subtracted * found["import"]
            for found in (at_once[smallest], cached[largest])
        )
        print(
            f"{name}: {largest} in micro-batches / {smallest} at once = "
            f"{high / low:.2f}"
        )
    for batch, found in cached.items():
        beside = batch if batch in at_once else max(at_once)
        ratio = per_image(found) / per_image(at_once[beside])
        print(
            f"time per image: {batch} in micro-batches / {beside} at once = "
            f"{ratio:.2f}"
        )


def per_image(found):
    return np.median(found["seconds"]) / found["batch"]


def measure(batch, micro, arguments):
    """Megabytes and seconds of one row, in a process of its own."""
    import tensorflow as tf

    import simclr_keras

    after_import = peak()
    encoder = simclr_keras.resnet(
        18, arguments.width, stem="cifar", image_size=IMAGE_SIZE, seed=0
    )
    head = simclr_keras.projection_head(
        encoder.output_shape[-1], out_dim=128, seed=0
    )
    model = simclr_keras.SimCLR(
        encoder,
        head,
        simclr_keras.augmenter(IMAGE_SIZE, strength=0.5, blur=False),
        micro_batch_size=micro or None,
    )
    model.compile(simclr_keras.LARS(0.1))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [batch, IMAGE_SIZE, IMAGE_SIZE, 3], np.uint8)
    images = tf.constant(images)
    tf.function(model.views, autograph=False)(images[:WARM_UP], 0)
    step = tf.function(model.train_step).get_concrete_function(images)
    return {
        "import": after_import,
        "before": peak(),
        "seconds": seconds(lambda: step(images), arguments.steps),
        "peak": peak(),
    }


def seconds(step, most):
    """Of each counted step."""
    found = [timed(step)]
    if found[0] > FIRST_SECONDS:
        return found
    found = []
    while len(found) < most and sum(found) < ALL_SECONDS:
        found.append(timed(step))
    return found


def timed(step):
    start = time.perf_counter()
    float(step()["loss"])
    return time.perf_counter() - start


def peak():
    """Largest resident set so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
