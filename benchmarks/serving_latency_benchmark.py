"""Latency over gRPC at 8 clients: p50, p99 and images per second.

    PYTHONPATH=. python benchmarks/serving_latency_benchmark.py --seconds=20

ResNet-18 at 32 pixels with random weights, exported by `export_saved_model`,
behind the server of tests/export in a process of its own: TensorFlow Serving's
protos over localhost and TensorFlow's C++ session, with Python in between.
No requests are put together to batches. Clients are threads of one process
that send one request after the other. The machine is shared by both.
"""

import argparse
import tempfile
import threading
import time

import grpc
import numpy as np
from serving_benchmark import build
from serving_benchmark import describe_machine

from simclr_keras.export import Client
from simclr_keras.export import export_saved_model
from tests.export import server_process
from tests.export import small_model

SIZE = 32
CLIENTS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rows", type=int, action="append")
    arguments = parser.parse_args()
    describe_machine(f"all of {arguments.seconds:g} s")
    print(f"grpcio {grpc.__version__}, {CLIENTS} clients")
    with tempfile.TemporaryDirectory() as folder:
        export_saved_model(build("resnet18"), f"{folder}/1", image_size=SIZE)
        with server_process.running(folder) as (address, _, _):
            for rows in arguments.rows or (1, 8):
                for kind in ("uint8", "PNG files"):
                    report(address, kind, rows, arguments.seconds)


def report(address, kind, rows, seconds):
    """Prints quantiles of the requests of all clients."""
    images = small_model.pixels(rows, SIZE, SIZE)
    files = [small_model.file(image) for image in images]
    ask, batch = (
        (Client.embed, images)
        if kind == "uint8"
        else (Client.embed_bytes, files)
    )
    measure(address, ask, batch, seconds / 4)
    latencies, took = measure(address, ask, batch, seconds)
    p50, p90, p99 = 1000 * np.percentile(latencies, [50, 90, 99])
    print(
        f"{rows:2} {kind} a request, n={len(latencies)}: p50 {p50:.1f} ms, "
        f"p90 {p90:.1f} ms, p99 {p99:.1f} ms; "
        f"{rows * len(latencies) / took:.1f} images/s",
        flush=True,
    )


def measure(address, ask, batch, seconds):
    """Seconds of every request, and of all together."""
    latencies, began = [], time.monotonic()

    def call():
        with Client(address) as client:
            while (start := time.monotonic()) - began < seconds:
                ask(client, batch)
                latencies.append(time.monotonic() - start)

    clients = [threading.Thread(target=call) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return latencies, time.monotonic() - began


if __name__ == "__main__":
    main()
