"""Throughput and memory of bulk embeddings.

    python benchmarks/embed_benchmark.py                      # ResNet-18, 32 px
    python benchmarks/embed_benchmark.py --depth=50 --image_size=224 --files=500

Writes distinct JPEG files into a temporary folder, or takes --folder, and
embeds them with an encoder of random weights. Each round measures, in turn,
the encoder alone (one batch that is prepared already, as often as the images
need), decoding alone (the same pipeline without the encoder) and all of it,
the output file included. Decoding and encoder share the cores: without GPU
the best that can be is 1 / (1 / encoder + 1 / decoding).
"""

import argparse
import os
import pathlib
import resource
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=96, help="of the files")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        # Scans are kept; each benchmark makes its own.
        os.environ["SIMCLR_KERAS_CACHE"] = str(temporary)
        folder = arguments.folder
        if folder is None:
            folder = temporary / "images"
            write(folder, arguments.files, arguments.side)
        measure(arguments, folder, temporary)


def write(folder, count, side):
    """Distinct JPEG files: gradients with a noisy corner, 2 to 4 kB."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side]
    image = np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8)
    corner = min(32, side)
    for index in range(count):
        noise = rng.integers(0, 256, (corner, corner, 3), np.uint8)
        image[:corner, :corner] = noise
        Image.fromarray(image).save(folder / f"{index:06}.jpg", quality=90)


def measure(arguments, folder, temporary):
    import tensorflow as tf

    import simclr_keras
    from simclr_keras import data
    from simclr_keras import embedding
    from simclr_keras import run_files

    size = arguments.image_size
    stem = "cifar" if size <= 32 else "imagenet"
    simclr_keras.save_encoder(
        simclr_keras.resnet(arguments.depth, stem=stem, image_size=size),
        temporary / "encoder.keras",
    )
    scan = seconds(lambda: opened(data, folder))
    images = embedding.Images(opened(data, folder))
    encoder = embedding.load(temporary / "encoder.keras")
    batches = images.batches(0, encoder.prepare, arguments.batch_size)
    [batch] = [found for *_, found in batches.take(1)]
    encoder(batch)  # Traces.
    count, before = images.num_images, peak_memory()
    steps = -(-count // len(batch))

    def alone():
        for _ in range(steps):
            encoder(batch)

    def decode():
        for _ in batches:
            pass

    def embed():
        output = temporary / "embeddings.parquet"
        embedding.run(
            encoder,
            images,
            output,
            batch_size=arguments.batch_size,
            overwrite=True,
        )

    rounds = [
        [seconds(alone) * count / (steps * len(batch)), seconds(decode)]
        + [seconds(embed)]
        for _ in range(arguments.rounds)
    ]
    print(
        f"{run_files.processor()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; tensorflow {tf.__version__}; ResNet-"
        f"{arguments.depth}, {size} px; {count:,} images, n = {len(rounds)}"
    )
    for name, times in zip(
        ("encoder alone", "decoding alone", "embedding"),
        zip(*rounds, strict=True),
        strict=True,
    ):
        rates = sorted(count / time for time in times)
        print(
            f"{name:<20} {statistics.median(rates):9,.1f} images/s "
            f"({rates[0]:,.1f} .. {rates[-1]:,.1f})"
        )
    for name, shares in (
        ("of the encoder", [a / e for a, _, e in rounds]),
        ("of what is possible", [(a + d) / e for a, d, e in rounds]),
        ("decoding, share", [d / (a + d) for a, d, _ in rounds]),
    ):
        print(f"{name:<20} {statistics.median(shares):9.1%}")
    print(f"{'scan':<20} {scan:9.2f} s")
    print(
        f"{'peak memory':<20} {peak_memory():9,.0f} MiB, "
        f"{before:,.0f} of it before"
    )


def opened(data, folder):
    return data.open_source(str(folder), max_skipped=1.0, whole=True)


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
