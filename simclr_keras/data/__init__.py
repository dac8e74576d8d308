"""Data sets: what they hold, and the `tf.data` pipelines made from them.

`open_source` finds a data set and `describe` says what was found. The module
`pipelines`, which imports TensorFlow, feeds it to a model.
"""

import importlib

from simclr_keras.data.arrays import from_arrays
from simclr_keras.data.opening import open_source
from simclr_keras.data.source import Source
from simclr_keras.data.source import describe
from simclr_keras.data.splits import Split

__all__ = [
    "Source",
    "Split",
    "describe",
    "from_arrays",
    "open_source",
    "pipelines",
    "sampling",
]


def __getattr__(name):
    if name in ("pipelines", "sampling"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
