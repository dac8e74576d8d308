"""From a trained encoder to files that TensorFlow Serving runs.

    simclr_keras.export.export_saved_model(
        encoder, "saved_model/1", classifier=probe, image_size=32
    )

or `python -m simclr_keras.export --help`. Names are imported on first use, so
that a command line is read without waiting for TensorFlow.
"""

import importlib

_PUBLIC = {
    "Client": "client",
    "describe": "versions",
    "export_saved_model": "saved_model",
    "next_version": "versions",
    "prune_versions": "versions",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
