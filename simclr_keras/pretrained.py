"""Encoders that another run, or Google, has trained, with their heads."""

import pathlib
import re
import typing

import keras

from simclr_keras import checkpoints
from simclr_keras import conversion
from simclr_keras import initialization
from simclr_keras import run_files
from simclr_keras import training_state

_ENCODER = "encoder.keras"
_HEAD = "projection_head.keras"
# What Google's TF1 code calls the parts, for `keep_matching`.
_ENCODER_SCOPE, _HEAD_SCOPE = "base_model", "head_contrastive"


class Pretrained(typing.NamedTuple):
    """An encoder with the weights of another training.

    Attributes:
        encoder: functional model, images [B, S, S, 3] -> [B, F] float32.
        projection_head: [B, F] -> [B, D], or None where there is none.
        recognised: `conversion.Recognised`, the arguments of `resnet` and
            `projection_head` that build the two; None if they are of another
            architecture.
        image_size: S; None if any will do.
        origin: str, the file or folder that was read.
    """

    encoder: keras.Model
    projection_head: keras.Model | None
    recognised: conversion.Recognised | None
    image_size: int | None
    origin: str

    @property
    def weights(self):
        """Variables of both parts: list."""
        head = self.projection_head
        return self.encoder.weights + (head.weights if head else [])

    def __str__(self):
        kind = self.recognised or "an encoder of another architecture"
        return f"{self.origin}: {kind}"

    def at_size(self, image_size):
        """The same for square images of so many pixels."""
        if self.image_size == image_size:
            return self
        images = keras.Input((image_size, image_size, 3))
        encoder = keras.models.clone_model(self.encoder, input_tensors=images)
        encoder.set_weights(self.encoder.get_weights())
        return self._replace(encoder=encoder, image_size=image_size)

    def keep_matching(self, schema):
        """Gives variables whose name does not match their initial values.

        Google's --variable_schema. Names are those of its TF1 code with our
        layers: base_model/stem_conv/kernel, head_contrastive/projection1_bn/
        gamma. The pattern must match from the start of the name on.

        Args:
            schema: regular expression.

        Returns:
            Names of the variables that kept their values: list of str.
        """
        kept = _reset_others(self.encoder, _ENCODER_SCOPE, schema)
        if self.projection_head is not None:
            kept += _reset_others(self.projection_head, _HEAD_SCOPE, schema)
        return kept


def load(path):
    """The encoder, and its projection head if there is one, at a path.

    A linear probe or another classifier is never read: it may have seen
    labels that a later fit must not know.

    Args:
        path: a `.keras` file of an encoder; the `model_dir` of a run, of
            which `encoder.keras` is taken, else the newest whole checkpoint;
            one folder `step_<n>` of its checkpoints; or a checkpoint of
            google-research/simclr, as `conversion.from_google` takes it. A
            `projection_head.keras` beside an encoder's file is its head.

    Returns:
        `Pretrained`.

    Raises:
        ValueError: if there is no encoder at `path`, or it is damaged.
    """
    local = pathlib.Path(path)
    if (local / _ENCODER).is_file():
        local = local / _ENCODER
    if local.suffix == ".keras":
        return _of_keras_file(local)
    source = initialization.find(path)
    if training_state.is_checkpoint(source):
        return _of_checkpoint(source)
    google = conversion.from_google(path)
    return Pretrained(
        google.encoder,
        google.projection_head,
        google.recognised._replace(linear_probe=None),
        None,
        str(path),
    )


def untrained(model):
    """A copy of a functional model with initial weights."""
    return keras.models.clone_model(model)


def _of_keras_file(path):
    encoder, head = _loaded(path), None
    if path.with_name(_HEAD).is_file():
        head = _loaded(path.with_name(_HEAD))
    shapes = {
        w.path: tuple(w.shape)
        for model in (encoder, head)
        for w in (model.weights if model is not None else ())
    }
    height, width = encoder.input_shape[1:3]
    if height != width:
        raise ValueError(
            "`path` must hold an encoder of square images. "
            f"Received: {path}, of {height} x {width} pixels"
        )
    return Pretrained(encoder, head, _recognised(shapes), height, str(path))


def _loaded(path):
    try:
        model = checkpoints.load_encoder(path)
    except ValueError as error:
        if str(error).startswith("`path`"):
            raise
        raise _damaged(path, error) from error
    except (OSError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    return model


def _damaged(path, error):
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"`path` must be a whole .keras file. Received: {path} ({reason})"
    )


def _recognised(shapes):
    try:
        return conversion.recognise(shapes)
    except ValueError:
        return None


def _of_checkpoint(folder):
    found = training_state.read_weights(folder)
    shapes = {path: value.shape for path, value in found.items()}
    recognised = _recognised(shapes)
    if recognised is None:
        raise ValueError(
            "`path` must be a checkpoint with an encoder from resnet(). "
            f"Received: {folder}, with another one"
        )
    recognised = recognised._replace(linear_probe=None)
    size = _image_size(folder)
    encoder, head, _ = recognised.build(size)
    read = Pretrained(encoder, head, recognised, size, str(folder))
    for variable in read.weights:
        value = found.get(variable.path)
        if value is None or value.shape != tuple(variable.shape):
            raise ValueError(
                f"`path` must hold {recognised}. "
                f"Received: {folder}, with another {variable.path}"
            )
        variable.assign(value)
    return read


def _image_size(folder):
    """Of the run that a checkpoint belongs to; None if that is not known."""
    config = run_files.read_json(folder.parent.parent / "config.json")
    return config and config["flags"].get("image_size")


def _reset_others(model, scope, schema):
    kept = []
    initial = untrained(model)
    for variable, first in zip(model.weights, initial.weights, strict=True):
        name = f"{scope}/{variable.path}"
        if re.match(schema, name):
            kept.append(name)
        else:
            variable.assign(first)
    return kept
