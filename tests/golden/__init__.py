"""Numbers recorded from Google's TF2 code, the truth most tests compare with.

Every test reads settings, shapes and counts from the files, so other files of
the same form can be tried: set SIMCLR_KERAS_GOLDEN to their folder.
"""

import json
import os
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(
    os.environ.get("SIMCLR_KERAS_GOLDEN", pathlib.Path(__file__).parent)
)


def npz(name):
    """The arrays of `name` as a dict; uint8 `*_u8` images stay uint8."""
    with np.load(FOLDER / name, allow_pickle=False) as arrays:
        return dict(arrays)


def load_json(name):
    return json.loads((FOLDER / name).read_text())


def text(array):
    """JSON text kept in a 0-d string array."""
    return json.loads(str(array))


def images(array_u8):
    return array_u8.astype(np.float32) / np.float32(255)


def relative_to_max(actual, expected):
    """max|a - b| / max|b|, the measure in which tolerances are stated."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"shapes {actual.shape} and {expected.shape}")
    scale = np.max(np.abs(expected), initial=0.0)
    return np.max(np.abs(actual - expected), initial=0.0) / max(scale, 1e-30)


def weight(name, shape):
    """The deterministic value of the reference variable `name`.

    Kernels are normal with variance 1 / fan-in; gamma, beta, bias and the
    moving statistics are small perturbations of their usual start.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    n = rng.standard_normal(shape).astype(np.float32)
    last = name.split("/")[-1]
    if last == "kernel":
        return n * np.float32(np.sqrt(1 / np.prod(shape[:-1])))
    if last == "gamma":
        return np.float32(1) + np.float32(0.1) * n
    if last == "moving_variance":
        return np.float32(1) + np.float32(0.1) * np.abs(n)
    if last in ("beta", "bias", "moving_mean"):
        return np.float32(0.1) * n
    raise ValueError(f"no rule for the variable {name!r}")
