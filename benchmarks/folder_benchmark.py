"""Seconds and memory that folders of many images take.

    python benchmarks/folder_benchmark.py --folder=/tmp/folders --files 2000

For each number of files: a folder of distinct 96 x 96 JPEG files, made once
and kept below --folder; the seconds to open it without and with the cached
scan, and the resident memory after that and after 20 batches of 256 pairs of
32 x 32 views. Each figure is from a process of its own.
"""

import argparse
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

SIDE = 96
NUM_CLASSES = 10
BATCH_SIZE = 256
IMAGE_SIZE = 32
STEPS = 20
_DONE = "complete"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument(
        "--files", type=int, nargs="+", default=[2_000, 20_000, 200_000]
    )
    parser.add_argument("--measure", choices=["open", "train"])
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.folder)
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}; python {platform.python_version()}"
    )
    print("\n  files   cold s   cached s   opened MB   trained MB   images/s")
    for count in arguments.files:
        folder = arguments.folder / str(count)
        if not (folder.parent / f"{count}.{_DONE}").exists():
            write(folder, count)
        cache = folder.parent / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        cold, _ = measured("open", folder, cache)
        cached, opened = measured("open", folder, cache)
        speed, trained = measured("train", folder, cache)
        print(
            f"{count:7,} {cold:8.2f} {cached:10.2f} {opened:11.0f} "
            f"{trained:12.0f} {speed:10.0f}"
        )


def write(folder, count):
    """Distinct images: a corner of noise each, on a common background."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image = np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8)
    for label in range(NUM_CLASSES):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image[:32, :32] = rng.integers(0, 256, (32, 32, 3), np.uint8)
        path = folder / f"class{index % NUM_CLASSES}" / f"{index:06}.jpg"
        path.write_bytes(tf.io.encode_jpeg(image).numpy())
    (folder.parent / f"{count}.{_DONE}").touch()


def measured(what, folder, cache):
    """(the figure, resident MB) that a process of its own prints."""
    root = pathlib.Path(__file__).resolve().parent.parent
    command = [sys.executable, __file__, f"--folder={folder}"]
    environment = os.environ | {
        "SIMCLR_KERAS_CACHE": str(cache),
        "PYTHONPATH": str(root),
    }
    printed = subprocess.run(
        [*command, f"--measure={what}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    return tuple(map(float, printed.split()[-2:]))


def measure(what, folder):
    from simclr_keras import data

    start = time.perf_counter()
    source = data.open_source(str(folder))
    figure = time.perf_counter() - start
    if what == "train":
        figure = images_per_second(source.pretrain)
    print(figure, resident())


def images_per_second(split):
    from simclr_keras import data

    batches = data.pipelines.pretraining(
        split, BATCH_SIZE, image_size=IMAGE_SIZE, seed=0, num_steps=STEPS
    )
    start = time.perf_counter()
    for _ in batches:
        pass
    return STEPS * BATCH_SIZE / (time.perf_counter() - start)


def resident():
    """Memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
