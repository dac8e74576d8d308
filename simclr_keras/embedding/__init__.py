"""Embeddings of many images: made in bulk, kept in one file, searched.

    encoder = embedding.load("runs/photos")
    images = embedding.Images(data.open_source("photos", whole=True))
    embedding.run(encoder, images, "photos.parquet")
    for rows in embedding.read("photos.parquet"):
        ...

`simclr-embed` does this from a command line. Names are imported on first use,
so that a wrong path is refused without waiting for TensorFlow.
"""

import importlib

_PUBLIC = {
    "Images": "images",
    "embed_file": "encoders",
    "embedding_of": "neighbors",
    "load": "encoders",
    "nearest": "neighbors",
    "read": "files",
    "read_metadata": "files",
    "run": "bulk",
    "what_is_wrong": "encoder_files",
    "write_page": "page",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
