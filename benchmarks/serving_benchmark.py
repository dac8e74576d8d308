"""Embeddings per second of an exported model and of Keras' own export.

    python benchmarks/serving_benchmark.py --rounds=20

"ours" is `export_saved_model`, signature `embed`: batch norm folded, and the
crop, the resize and the clipping of evaluation included. "plain" is
`encoder.export()` of the same encoder as `encoder.keras` holds it, which takes
images that are ready. Both run through TensorFlow's SavedModel loader on
float32 images of the encoder's size, in one process, and take turns, so that
whatever else the machine does falls on both. The encoders have random weights,
and batch statistics unlike their initial values. bfloat16 is left out by
default on a CPU that would emulate it.

oneDNN is as TensorFlow chooses, and so a server: on where the CPU has
AVX-512, off elsewhere. TF_ENABLE_ONEDNN_OPTS decides otherwise.
"""

import argparse
import os
import platform
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from machine import PRECISIONS
from machine import cpu_info
from machine import fast_precisions

import simclr_keras
from simclr_keras.export import export_saved_model
from simclr_keras.normalization import plain_batch_norm

# name: depth, stem, image size
CASES = {"resnet18": (18, "cifar", 32), "resnet50": (50, "imagenet", 224)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--precision", choices=PRECISIONS, action="append")
    parser.add_argument("--batch", type=int, action="append")
    arguments = parser.parse_args()
    describe_machine(arguments.rounds)
    for case in arguments.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            report(case, folder, arguments)


def describe_machine(rounds):
    cpu = cpu_info()
    extensions = sorted(
        flag
        for flag in cpu.get("flags", "").split()
        if flag.startswith(("avx512_bf16", "avx512f", "avx2", "amx_bf16"))
    )
    print(
        f"{cpu.get('model name', platform.processor())}, {os.cpu_count()} "
        f"cores, {' '.join(extensions)}, load {os.getloadavg()[0]:.1f}, "
        f"oneDNN {os.environ.get('TF_ENABLE_ONEDNN_OPTS', 'by default')}, "
        f"n={rounds}\n"
        f"python {platform.python_version()}, tensorflow {tf.__version__}, "
        f"keras {keras.__version__}"
    )


def report(case, folder, arguments):
    """Prints images/s of all contestants on one encoder."""
    encoder = build(case)
    size = CASES[case][2]
    contestants = {"plain": plain(encoder, f"{folder}/plain")}
    for precision in arguments.precision or fast_precisions():
        contestants[f"ours {precision}"] = ours(
            encoder, f"{folder}/{precision}/1", size, precision
        )
    print(f"\n{case}, {size} px: images/s, median (quartiles); times plain")
    for batch in arguments.batch or (1, 8, 64):
        images = tf.random.stateless_uniform((batch, size, size, 3), [0, batch])
        seconds = take_turns(contestants, images, arguments.rounds)
        base = np.median(seconds["plain"])
        for name, values in seconds.items():
            rates = batch / np.asarray(values)
            low, middle, high = np.percentile(rates, [25, 50, 75])
            print(
                f"batch {batch:2}, {name:13}: {middle:8.1f} "
                f"({low:.1f} .. {high:.1f}); {base / np.median(values):.2f}",
                flush=True,
            )


def build(case):
    """As `encoder.keras` holds it, with statistics of its own."""
    depth, stem, size = CASES[case]
    encoder = plain_batch_norm(
        simclr_keras.resnet(depth=depth, stem=stem, image_size=size, seed=0)
    )
    generator = np.random.default_rng(0)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights([generator.uniform(0.5, 1.5, s) for s in shapes])
    return encoder


def plain(encoder, path):
    encoder.export(path, verbose=False)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    return lambda images: serve(**{name: images})


def ours(encoder, path, size, precision):
    export_saved_model(
        encoder, path, image_size=size, serving_precision=precision
    )
    embed = tf.saved_model.load(path).signatures["embed"]
    return lambda images: embed(images=images)


def take_turns(contestants, images, rounds):
    """Seconds of each call, after two that are not counted."""
    seconds = {name: [] for name in contestants}
    for turn in range(-2, rounds):
        for name, embed in contestants.items():
            began = time.perf_counter()
            next(iter(embed(images).values())).numpy()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
