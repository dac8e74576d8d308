"""Seconds from the command to the end of the first training step.

    python benchmarks/startup_benchmark.py --rounds=3 digits FOLDER

Each run is `python train.py --train_steps=1` in a process of its own: once
without a kept scan of the data ("cold"), then with it. Files are in the page
cache after the first run. The first step includes tracing and compiling.
"""

import argparse
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np

TRAIN = pathlib.Path(__file__).parent.parent / "train.py"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", nargs="+", help="what --dataset takes")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, n={arguments.rounds}, "
        f"python {platform.python_version()}"
    )
    print("seconds to the first step, median (min .. max): cold, scan kept")
    for dataset in arguments.dataset:
        cold, kept = zip(
            *(pair(dataset) for _ in range(arguments.rounds)), strict=True
        )
        print(f"{dataset}: {spread(cold)}, {spread(kept)}", flush=True)


def pair(dataset):
    """Seconds without and with a kept scan."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(dataset, folder, "1"), seconds(dataset, folder, "2")


def seconds(dataset, folder, run):
    command = [
        *(sys.executable, TRAIN, f"--dataset={dataset}"),
        f"--model_dir={folder}/{run}",
        *("--train_steps=1", "--warmup_epochs=0", "--mode=train"),
        "--noexport",
    ]
    environment = os.environ | {"SIMCLR_KERAS_CACHE": f"{folder}/cache"}
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout:
            if line.startswith("step 1/1"):
                return time.perf_counter() - began
    raise RuntimeError(f"{dataset}: the run ended without a step")


def spread(values):
    return f"{np.median(values):.1f} ({min(values):.1f} .. {max(values):.1f})"


if __name__ == "__main__":
    main()
