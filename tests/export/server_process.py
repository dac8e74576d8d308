"""A `ModelServer` in a process of its own.

python -m tests.export.server_process FOLDER
"""

import contextlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def running(folder, **environment):
    """Serves a folder while this lasts.

    Yields:
        (address for gRPC, address for REST, process)
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.export.server_process", str(folder)],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        addresses = process.stdout.readline().split()
        if len(addresses) != 2:
            raise RuntimeError("the server did not start")
        yield (*addresses, process)
    finally:
        # What it waits for.
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main():
    """Prints the addresses and serves until standard input ends."""
    from tests.export.model_server import ModelServer
    from tests.export.rest_server import RestServer

    with ModelServer(sys.argv[1]) as server, RestServer(server) as rest:
        print(server.address, rest.address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
