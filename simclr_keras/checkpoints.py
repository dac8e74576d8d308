"""Encoders as files that need nothing but Keras to be loaded."""

import os
import pathlib
import zipfile

import keras

from simclr_keras.normalization import fused_batch_norm
from simclr_keras.normalization import plain_batch_norm


def save_encoder(model_or_encoder, path):
    """Writes an encoder to a `.keras` file.

    `keras.models.load_model(path)` opens it in a process without this
    package: batch norms are Keras' own and every layer computes in float32,
    whatever policy it was trained under. Every layer is trainable, also if it
    was frozen here. The file appears under its name only when it is whole.

    Args:
        model_or_encoder: a model with an attribute `encoder`, such as
            `SimCLR`, or the encoder, a functional `keras.Model`.
        path: ends in `.keras`; missing folders are made.

    Raises:
        ValueError: for another ending, or a model that is not functional.
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in .keras. Received: path={path}")
    encoder = getattr(model_or_encoder, "encoder", model_or_encoder)
    plain = plain_batch_norm(encoder, dtype="float32", trainable=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras demands the ending of the temporary file too.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        plain.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_encoder(path):
    """The encoder in a `.keras` file, with this package's fast batch norm.

    Args:
        path: a file from `save_encoder`, or another `.keras` file of a
            functional model.

    Returns:
        `keras.Model`, not compiled, computing in float32.

    Raises:
        ValueError: if there is no such file, or it is something else.
    """
    path = pathlib.Path(path)
    if problem := _problem(path):
        raise ValueError(
            "`path` must be a .keras file, as written by save_encoder. "
            f"Received: path={path}, {problem}"
        )
    return fused_batch_norm(keras.models.load_model(path, compile=False))


def _problem(path):
    """What is wrong with the path, or None."""
    if not path.exists():
        return "which does not exist"
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return (
                "a TensorFlow SavedModel: it serves embeddings, but has no "
                "Keras layers; the encoder.keras of the same run does"
            )
        inside = sorted(file.name for file in path.glob("*.keras"))
        found = f"with {', '.join(inside)} in it" if inside else "without any"
        return f"a folder {found}"
    if path.name.endswith(".weights.h5"):
        return (
            "which holds weights only: build the same encoder with resnet() "
            "and call load_weights"
        )
    if not zipfile.is_zipfile(path):
        return "which is not a Keras 3 archive, or is damaged"
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            return "an archive without a model's config.json"
    return None
