"""The files of a run as Keras models, to be exported."""

import json
import os
import pathlib

import keras
import numpy as np

from simclr_keras import conversion


def load_encoder(path: str | os.PathLike) -> keras.Model:
    """The model in a .keras file, for inference."""
    return keras.saving.load_model(path, compile=False)


def load_projection_head(model_dir: str | os.PathLike | None):
    """The projection head of a run; None without one."""
    path = model_dir and pathlib.Path(model_dir, "projection_head.keras")
    return load_encoder(path) if path and path.is_file() else None


def load_classifier(model_dir: str | os.PathLike | None):
    """The classifier that a run trained with its encoder.

    Args:
        model_dir: directory of a run of fine-tuning or distillation; or None.

    Returns:
        (model of [B, F] -> [B, K] logits, list of K str or None); both are
        None without a path, and for a run that trained none.
    """
    path = model_dir and pathlib.Path(model_dir, "classifier.keras")
    if not path or not path.is_file():
        return None, None
    config = path.with_name("config.json").read_text(encoding="utf-8")
    return load_encoder(path), json.loads(config).get("class_names")


def load_google(
    path: str | os.PathLike, image_size: int, ft_proj_selector: int = 0
):
    """Encoder and classifier of a checkpoint of google-research/simclr.

    Args:
        path: as `conversion.from_google` takes it.
        image_size: side of the images in pixels.
        ft_proj_selector: the layer that its supervised head reads, as
            `conversion.Converted.classifier` takes it.

    Returns:
        (encoder, model of [B, F] -> [B, K] logits or None, text that tells
        what was recognised).

    Raises:
        ValueError: as these two functions.
    """
    converted = conversion.from_google(path, image_size)
    classifier = converted.classifier(ft_proj_selector)
    return converted.encoder, classifier, str(converted.recognised)


def load_probe(path: str | os.PathLike):
    """A linear probe kept in an .npz file, as a Keras model.

    Args:
        path: file with `kernel` [F, K], `bias` [K] and, where known,
            `class_names` [K].

    Returns:
        (model of [B, F] -> [B, K] logits, list of K str or None).

    Raises:
        ValueError: if an array is missing or the shapes do not agree.
    """
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"kernel", "bias"} - set(arrays)
        if missing:
            raise ValueError(f"{path} has no array {sorted(missing)[0]!r}")
        kernel, bias = arrays["kernel"], arrays["bias"]
        names = arrays["class_names"] if "class_names" in arrays else None
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        raise ValueError(
            "`kernel` must be [F, K] and `bias` [K]. "
            f"Received: {kernel.shape} and {bias.shape} in {path}"
        )
    inputs = keras.Input((kernel.shape[0],))
    dense = keras.layers.Dense(
        kernel.shape[1], dtype="float32", name="linear_probe"
    )
    model = keras.Model(inputs, dense(inputs))
    dense.set_weights([kernel, bias])
    return model, None if names is None else [str(name) for name in names]
