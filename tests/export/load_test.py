"""A minute of load with bad images and new versions: `pytest -m slow`."""

import pathlib
import random
import re
import shutil
import threading
import time

import numpy as np
import pytest

from simclr_keras.export import Client
from simclr_keras.export import client_errors
from tests.export import server_process
from tests.export import small_model

pytestmark = pytest.mark.slow

# New versions come in the first half only: what they leave in the server's
# process is another question than what requests leave.
SECONDS, LAST_SWAP, SETTLED = 60, 30, 35
# Of the server's 700 MB or so.
GROWTH_MB = 30
BAD_SHARE = 0.05
FILES = [small_model.file(image) for image in small_model.pixels(40)]
BAD = [b"", b"no image", FILES[0][:300], FILES[1][:100] + b"damage"]


class Caller(threading.Thread):
    """Sends batches of files until told to stop, and checks every answer."""

    def __init__(self, address, number, expected, stop):
        super().__init__()
        self.client = Client(address)
        self.random = random.Random(number)
        self.expected, self.stop = expected, stop
        self.num_good = self.num_bad = 0
        self.problems = []

    def run(self):
        while not self.stop.is_set():
            chosen = [
                None if self.random.random() < BAD_SHARE else row
                for row in self.random.choices(
                    range(len(FILES)), k=self.random.randint(1, 8)
                )
            ]
            try:
                self.ask(chosen)
            except Exception as error:
                self.problems.append(repr(error))

    def ask(self, chosen):
        answer = self.client.embed_bytes(
            [
                self.random.choice(BAD) if row is None else FILES[row]
                for row in chosen
            ]
        )
        good = [place for place, row in enumerate(chosen) if row is not None]
        valid = [row is not None for row in chosen]
        assert answer["valid"].tolist() == valid
        np.testing.assert_allclose(
            answer["embedding"][good],
            self.expected[[chosen[place] for place in good]],
            atol=1e-5,
        )
        self.num_good += len(good)
        self.num_bad += len(chosen) - len(good)


def resident_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def wait_for(version, address):
    """Until it is served, for on a busy machine loading takes long."""
    client, deadline = Client(address, version=version), time.monotonic() + 120
    while True:
        try:
            return client.embed_bytes(FILES[:1])
        except client_errors.NotFound:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_minute_of_load(tmp_path):
    first = small_model.write(tmp_path)
    with server_process.running(tmp_path) as (grpc, rest, process):
        expected = Client(grpc).embed_bytes(FILES)["embedding"]
        stop = threading.Event()
        callers = [
            Caller(rest if number < 2 else grpc, number, expected, stop)
            for number in range(8)
        ]
        for caller in callers:
            caller.start()
        began, memory, version = time.monotonic(), [], 1
        while (now := time.monotonic() - began) < SECONDS:
            time.sleep(1)
            memory.append((now, resident_mb(process)))
            # A new version every ten seconds.
            if LAST_SWAP >= now > 10 * version:
                version += 1
                new = tmp_path / f".{version}"
                shutil.copytree(first, new)
                new.rename(tmp_path / str(version))
        wait_for(version, grpc)
        stop.set()
        for caller in callers:
            caller.join()
        pinned = Client(grpc, version=version).embed_bytes(FILES)
    np.testing.assert_allclose(pinned["embedding"], expected, atol=1e-5)
    assert [caller.problems for caller in callers] == [[]] * 8
    num_good = sum(caller.num_good for caller in callers)
    num_bad = sum(caller.num_bad for caller in callers)
    assert num_good > 1000 and num_bad > 10
    before = np.median([mb for at, mb in memory if SETTLED < at < SETTLED + 10])
    after = np.median([mb for at, mb in memory if at > SECONDS - 10])
    print(
        f"{num_good} good and {num_bad} bad files, {version} versions; "
        f"{before:.0f} MB, then {after:.0f} MB"
    )
    assert after - before < GROWTH_MB
