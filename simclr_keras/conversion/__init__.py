"""Checkpoints of google-research/simclr as models of this package.

    converted = simclr_keras.conversion.from_google("r50_1x_sk0")
    features = converted.encoder(images)

or `simclr-export --encoder=r50_1x_sk0`. Names are imported on first use, so
that a wrong path is refused without waiting for TensorFlow.
"""

import importlib

_PUBLIC = {
    "Checkpoint": "checkpoint",
    "Converted": "google",
    "Recognised": "recognition",
    "from_google": "google",
    "recognise": "recognition",
    "search": "files",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
