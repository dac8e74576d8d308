"""Writes a SavedModel that needs nothing but TensorFlow."""

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import simclr_keras
from simclr_keras import preprocessing
from simclr_keras import run_files
from simclr_keras.export import card
from simclr_keras.export import contract
from simclr_keras.export import decoding
from simclr_keras.export import folding
from simclr_keras.export import serving
from simclr_keras.export import versions
from simclr_keras.export.signatures import Network
from simclr_keras.export.signatures import signatures


def export_saved_model(
    encoder: keras.Model,
    path: str | os.PathLike,
    *,
    image_size: int | tuple[int, int],
    classifier: keras.Layer | None = None,
    projection_head: keras.Model | None = None,
    class_names: Sequence[str] | None = None,
    serving_precision: str = "float32",
    provenance: dict | None = None,
) -> pathlib.Path:
    """Writes encoder and heads with their preprocessing as one SavedModel.

    Its signatures are those of `simclr_keras.export.signatures`. In the same
    folder stand a model card, `README.md`, the same for programs,
    `metadata.json`, and warm-up requests, if tensorflow-serving-api is
    installed; in the folder above, `models.config` and
    `batching_parameters.txt` for the server, unless they exist.

    Functional models are folded (see `folding.folded`) and compute in
    `serving_precision`, whatever policy they were trained under; others keep
    their policy.

    Args:
        encoder: model of [B, S, S, 3] float32 images in [0, 1] -> [B, F].
        path: the version's folder, as "saved_model/1"; must not exist.
        image_size: int, or (height, width), that the encoder takes.
        classifier: model of features [B, F] -> logits [B, K], such as a
            linear probe; without it there is no `classify`.
        projection_head: model of [B, F] -> [B, D]; adds the output
            `projection` to `embed`.
        class_names: K strings, kept in `metadata.json`.
        serving_precision: what the encoder computes in, "float32" or
            "bfloat16"; heads, inputs and outputs are float32 in any case.
        provenance: JSON-serialisable dict, as `provenance.of_run` returns it,
            for the model card.

    Returns:
        `path`, as a pathlib.Path.

    Raises:
        ValueError: if `path` is no new integer version, or would break the
            model served from its folder; if encoder, heads, `image_size` and
            `class_names` do not fit together; for another
            `serving_precision`.
    """
    path = versions.check_new(path)
    contract.check_location(path)
    size = preprocessing.height_width(image_size)
    widths = _widths(encoder, classifier, projection_head, size)
    if class_names is not None and len(class_names) != widths.get("classes"):
        raise ValueError(
            "`class_names` must have one name per output of `classifier`, "
            f"{widths.get('classes', 0)}. Received: {len(class_names)} names"
        )
    encoder = folding.folded(encoder, serving_precision)
    classifier, projection_head = (
        model and folding.folded(model)
        for model in (classifier, projection_head)
    )
    # It finds the variables of its endpoints; tracked layers would add them
    # once more, and a server would load both.
    archive = keras.export.ExportArchive()
    network = Network(encoder, classifier, projection_head, size)
    described = {}
    for name, function in signatures(network).items():
        # Traced here; with an `input_signature` Keras would trace it again.
        described[name] = _described(function.get_concrete_function())
        archive.add_endpoint(name, function)
    metadata = {
        "image_size": list(size),
        "crop_proportion": preprocessing.crop_proportion(size),
        "max_pixels": decoding.MAX_PIXELS,
        "precision": serving_precision,
        "widths": widths,
        "class_names": None if class_names is None else list(class_names),
        "signatures": described,
        "versions": _versions(),
        "provenance": provenance or {},
    }
    contract.check(path, metadata)
    with versions.new_version(path) as folder:
        archive.write_out(folder, verbose=False)
        metadata["warmup_requests"] = serving.write_warmup_requests(
            folder, size, described
        )
        run_files.write_json(folder / versions.METADATA, metadata)
        text = card.card(metadata)
        (folder / "README.md").write_text(text, encoding="utf-8")
    serving.write_server_files(path.parent)
    return path


def _versions():
    environment = run_files.environment()
    names = ("python", "tensorflow", "keras", "git_revision")
    return {"simclr_keras": simclr_keras.__version__} | {
        name: environment[name] for name in names
    }


def _widths(encoder, classifier, projection_head, size):
    """Sizes of all outputs, found by running one blank image through."""
    expected = getattr(encoder, "input_shape", None)
    given = (None, *size, 3)
    if isinstance(expected, tuple) and not _compatible(expected, given):
        raise ValueError(
            "`image_size` must be what the encoder takes, which is "
            f"{expected}. Received: image_size={size}"
        )
    features = encoder(np.zeros((1, *size, 3), np.float32), training=False)
    widths = {"features": _width("encoder", features)}
    if classifier is not None:
        logits = classifier(features, training=False)
        widths["classes"] = _width("classifier", logits)
    if projection_head is not None:
        projection = projection_head(features, training=False)
        widths["projection"] = _width("projection_head", projection)
    return widths


def _compatible(expected, given):
    return tf.TensorShape(expected).is_compatible_with(given)


def _width(argument, outputs):
    if not tf.is_tensor(outputs) or outputs.shape.rank != 2:
        received = getattr(outputs, "shape", type(outputs).__name__)
        raise ValueError(
            f"`{argument}` must return one tensor [B, features]. "
            f"Received: outputs of {received}"
        )
    return outputs.shape[-1]


def _described(traced):
    inputs = traced.structured_input_signature[0]
    outputs = traced.structured_outputs
    return {
        "inputs": {spec.name: _field(spec) for spec in inputs},
        "outputs": {name: _field(value) for name, value in outputs.items()},
    }


def _field(spec):
    shape = ["B", *spec.shape[1:]]
    if len(shape) == 4:
        shape[1:3] = ["h", "w"]
    return {"dtype": spec.dtype.name, "shape": shape}
