"""Views per second: this package's augmenter beside stock keras-cv layers.

    python benchmarks/augment_benchmark.py --rounds=20

Crop, flip, colour jitter (p = 0.8, strength 0.5 at 32 px and 1 at 96 px) and
grayscale (p = 0.2) on 256 images, no blur. Stock layers are those nearest to
SimCLR's, with factors translated; `RandomApply` is what keras-cv offers for
a probability, "masked" is the same chain with a select in its place, which is
faster than `RandomApply` and what a careful user would write. The contestants
take turns in one process.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras_cv
import numpy as np
import tensorflow as tf

import simclr_keras
from simclr_keras import augment

BATCH_SIZE = 256
STRENGTHS = {32: 0.5, 96: 1.0}
JITTER_PROBABILITY = 0.8
GRAYSCALE_PROBABILITY = 0.2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores,"
        f" {len(tf.config.list_physical_devices('GPU'))} GPUs, load "
        f"{os.getloadavg()[0]:.1f}; python {platform.python_version()}, "
        f"tensorflow {tf.__version__}, keras-cv {keras_cv.__version__}"
    )
    for image_size, strength in STRENGTHS.items():
        report(image_size, strength, arguments.rounds)


def report(image_size, strength, rounds):
    images = tf.constant(
        np.random.default_rng(0).random(
            (BATCH_SIZE, image_size, image_size, 3), np.float32
        )
    )
    chains = {
        "ours": ours(image_size, strength),
        "stock, masked": stock_masked(image_size, strength),
        "stock": stock(image_size, strength),
    }
    seconds = measure(chains, images, rounds)
    print(f"\n{image_size} px, batch {BATCH_SIZE}, n={rounds}")
    print("                  views/s   ms, median (quartiles)   ours is")
    for name, times in seconds.items():
        low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
        ratio = middle / np.median(seconds["ours"])
        print(
            f"{name:15} {BATCH_SIZE / middle:9.0f}   {1e3 * middle:8.1f}"
            f" ({1e3 * low:.1f} .. {1e3 * high:.1f})   {ratio:.2f}x"
        )


def measure(chains, images, rounds):
    """{name: seconds of each round}."""
    functions = {
        name: tf.function(chain, autograph=name == "stock")
        for name, chain in chains.items()
    }
    for function in functions.values():
        function(images, tf.constant(0))
        function(images, tf.constant(1))
    seconds = {name: [] for name in functions}
    for step in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function(images, tf.constant(step)).numpy()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ours(image_size, strength):
    augmenter = simclr_keras.augmenter(image_size, strength, blur=False)
    return lambda images, step: augmenter(
        images, seed=augment.fold_seed(0, step)
    )


def stock_layers(image_size, strength):
    """Crop and flip; jitter; grayscale. Saturation x stands for x / (1 - x),
    hue is halved by the layer, brightness is additive whatever one does."""
    layers = keras_cv.layers
    low, high = 1 - 0.8 * strength, 1 + 0.8 * strength
    crop = layers.RandomCropAndResize(
        (image_size, image_size),
        crop_area_factor=(0.08, 1.0),
        aspect_ratio_factor=(3 / 4, 4 / 3),
    )
    flip = layers.RandomFlip("horizontal")
    jitter = layers.RandomColorJitter(
        (0, 1),
        brightness_factor=0.8 * strength,
        contrast_factor=0.8 * strength,
        saturation_factor=(low / (1 + low), high / (1 + high)),
        hue_factor=0.4 * strength,
    )
    grayscale = layers.Grayscale(output_channels=3)
    return (lambda images: flip(crop(images))), jitter, grayscale


def stock(image_size, strength):
    crop, jitter, grayscale = stock_layers(image_size, strength)
    jitter = keras_cv.layers.RandomApply(jitter, JITTER_PROBABILITY)
    grayscale = keras_cv.layers.RandomApply(grayscale, GRAYSCALE_PROBABILITY)
    return lambda images, step: grayscale(jitter(crop(images)))


def stock_masked(image_size, strength):
    crop, jitter, grayscale = stock_layers(image_size, strength)

    def sometimes(layer, probability, images):
        chosen = tf.random.uniform([BATCH_SIZE, 1, 1, 1]) < probability
        return tf.where(chosen, layer(images), images)

    def chain(images, step):
        images = sometimes(jitter, JITTER_PROBABILITY, crop(images))
        return sometimes(grayscale, GRAYSCALE_PROBABILITY, images)

    return chain


if __name__ == "__main__":
    main()
