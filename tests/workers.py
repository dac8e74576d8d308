"""`train.py` on two workers of this machine, for tests."""

import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
SMALL = (
    "--train_batch_size=32",
    "--width_multiplier=0.125",
    "--image_size=8",
    "--warmup_epochs=0",
    "--train_summary_steps=1",
)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(*arguments, program=(ROOT / "train.py",), own=None, first=None):
    """The processes of two workers, each with its `TF_CONFIG`.

    `own` holds, for each, arguments that it alone gets, and `first` those
    that come before all others.
    """
    own, first = own or ((), ()), first or ((), ())
    hosts = [f"127.0.0.1:{port}" for port in free_ports(len(own))]
    return [
        subprocess.Popen(
            [sys.executable, *program, *start_, *SMALL, *arguments, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "CUDA_VISIBLE_DEVICES": "-1",
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": hosts},
                        "task": {"type": "worker", "index": index},
                    }
                ),
            },
        )
        for index, (start_, more) in enumerate(zip(first, own, strict=True))
    ]


def finish(processes, timeout=300):
    """Waits for all; (exit code, standard output, standard error) of each."""
    try:
        return [
            (*process.communicate(timeout=timeout), process.returncode)
            for process in processes
        ]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def until_trained(process):
    """Reads standard output up to the first line about a step."""
    for line in process.stdout:
        if line.startswith("step "):
            return
