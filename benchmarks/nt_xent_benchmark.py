"""Time and memory of NT-Xent with its gradient: dense beside blockwise.

    PYTHONPATH=. python benchmarks/nt_xent_benchmark.py --rounds=10

Loss, accuracy, entropy and gradient of N pairs of 128 float32 features in one
`tf.function`. Each figure is from a process of its own, which first takes a
step of 64 pairs; memory is how far the peak resident set then still rises.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

WIDTH = 128
TEMPERATURE = 0.1
WARM_UP = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[1024, 4096, 8192]
    )
    parser.add_argument(
        "--block_sizes", type=int, nargs="+", default=[128], help="0 is dense"
    )
    parser.add_argument("--measure", action="store_true")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.images[0], arguments.block_sizes[0], arguments.rounds)
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}; python {platform.python_version()}"
    )
    title = "\n     N  route           n  median ms   quartiles ms     peak MB"
    for num_images in arguments.images:
        for block_size in [0, *arguments.block_sizes]:
            device, *figures = measured(num_images, block_size, arguments)
            if title:
                print(device + title)
                title = ""
            low, median, high, peak = map(float, figures)
            route = f"blocks of {block_size}" if block_size else "dense"
            print(
                f"{num_images:6} {route:14} {arguments.rounds:3} {median:10.1f}"
                f" {low:8.1f} {high:8.1f} {peak:10.0f}",
                flush=True,
            )


def measured(num_images, block_size, arguments):
    """What `measure` prints in a process of its own, line by line."""
    command = [sys.executable, __file__, "--measure"]
    command += [f"--rounds={arguments.rounds}", f"--images={num_images}"]
    return subprocess.run(
        [*command, f"--block_sizes={block_size}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()


def measure(num_images, block_size, rounds):
    import numpy as np
    import tensorflow as tf

    step = loss_and_gradient(block_size)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, num_images, WIDTH)).astype(np.float32)
    step(tf.constant(z[:, :WARM_UP]))
    z = tf.constant(z)
    before = peak()
    step(z)
    milliseconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        *_, gradient = step(z)
        gradient.numpy()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    gpus = len(tf.config.list_physical_devices("GPU"))
    print(f"{gpus} GPUs, tensorflow {tf.__version__}")
    print(*np.percentile(milliseconds, [25, 50, 75]), sep="\n")
    print(peak() - before)


def loss_and_gradient(block_size):
    import tensorflow as tf

    from simclr_keras import losses

    def forward(z1, z2):
        if block_size:
            return losses.contrastive(
                z1, z2, TEMPERATURE, block_size=block_size
            )
        logits = losses.view_logits(z1, z2, TEMPERATURE)
        return (
            losses.mean_cross_entropy(logits),
            losses.contrastive_accuracy(logits),
            losses.contrastive_entropy(logits),
        )

    @tf.function
    def step(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            results = forward(*tf.unstack(z))
        return *results, tape.gradient(results[0], z)

    return step


def peak():
    """Largest resident set so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
