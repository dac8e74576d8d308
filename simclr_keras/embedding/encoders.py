"""Trained encoders, from the files that hold them to a function of images."""

import functools
import hashlib
import json
import os
import pathlib
import zipfile

import tensorflow as tf

from simclr_keras import checkpoints
from simclr_keras import conversion
from simclr_keras import preprocessing
from simclr_keras.embedding import encoder_files

_TAKES = (
    "`encoder` must be a run's directory, a .keras file, a SavedModel of "
    "simclr-export, or a checkpoint of google-research/simclr"
)
_UNREADABLE = (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile)


def load(path, image_size=None):
    """An encoder that embeds images as evaluation does.

    Args:
        path: directory of a run with encoder.keras in it, a .keras file, one
            version of a SavedModel as `simclr-export` writes it, or what
            `conversion.from_google` takes.
        image_size: side of the images in pixels. Needed only where the
            encoder takes any size, as Google's do.

    Returns:
        `KerasEncoder` or `SavedModelEncoder`.

    Raises:
        ValueError: if there is no encoder, or it takes another size.
    """
    path = pathlib.Path(path).absolute()
    if problem := encoder_files.what_is_wrong(path):
        raise ValueError(f"{_TAKES}. Received: {path}, {problem}")
    if encoder_files.is_served(path):
        return SavedModelEncoder(path, image_size)
    try:
        if found := encoder_files.keras_file(path):
            model, sources = checkpoints.load_encoder(found), [found]
        else:
            model = conversion.from_google(path, image_size).encoder
            prefix, _ = conversion.search(path)
            sources = sorted(prefix.parent.glob(f"{prefix.name}.*"))
    except _UNREADABLE as error:
        raise ValueError(f"{_TAKES}. {_received(error)}") from error
    return KerasEncoder(path, model, sources, image_size)


def embed_file(encoder, path):
    """The embedding of one image file, [F] float32.

    Raises:
        ValueError: if it is not an image that can be decoded.
    """
    try:
        image = encoder.prepare(tf.io.read_file(os.fsencode(path)))
        [embedding], [valid] = encoder(image[None])
    except tf.errors.OpError:
        valid = False
    if not valid:
        raise ValueError(
            "the file must be an image that can be decoded. "
            f"Received: {path}, which is none, damaged or cut off"
        )
    return embedding


class KerasEncoder:
    """A Keras model, fed by the preprocessing of evaluation.

    Args:
        path: where it is from.
        model: `keras.Model` of images [B, S, S, 3] to embeddings [B, F].
        sources: paths of the files that hold it.
        image_size: as for `load`.

    Attributes:
        path: pathlib.Path, absolute.
        digest: str; files of other content have another one.
        image_size: (height, width).
        num_features: F.
    """

    def __init__(self, path, model, sources, image_size):
        self.path = path
        self.digest = _digest(sources)
        self.image_size = _image_size(model, image_size)
        self.num_features = _num_features(model)
        self._crop = preprocessing.crop_proportion(self.image_size)
        # A free batch dimension: smaller batches are not traced again.
        self._embed = tf.function(
            lambda images: tf.cast(model(images, training=False), tf.float32),
            input_signature=[tf.TensorSpec([None, *self.image_size, 3])],
            autograph=False,
        )

    @functools.partial(tf.function, autograph=False, reduce_retracing=True)
    def prepare(self, image):
        """Content of a file, or pixels [h, w, 3] uint8, as [S, S, 3] float."""
        if image.dtype == tf.string:
            image = preprocessing.decode(image)
        return preprocessing.center_crop_and_resize(
            image, self.image_size, self._crop
        )

    def __call__(self, batch):
        """([B, F] float32, [B] bool: whether a row is valid)."""
        return self._embed(batch).numpy(), tf.ones(len(batch), tf.bool).numpy()


class SavedModelEncoder:
    """An encoder that decodes and preprocesses by itself.

    Attributes: as `KerasEncoder`.
    """

    def __init__(self, path, image_size):
        self.path = path
        try:
            metadata = json.loads((path / "metadata.json").read_text())
            self.image_size = tuple(metadata["image_size"])
            self.num_features = int(metadata["widths"]["features"])
            self._model = tf.saved_model.load(path)
            self._embed_files = self._model.signatures["serving_default"]
            self._embed_pixels = self._model.signatures["embed_uint8"]
        except _UNREADABLE as error:
            raise ValueError(
                f"{_TAKES}. Received: {path}, whose metadata.json or "
                f"signatures are not those ({error})"
            ) from error
        _check_size(self.image_size, image_size)
        files = [path / "saved_model.pb", *sorted(path.glob("variables/*"))]
        self.digest = _digest(files)

    def prepare(self, image):
        """The image as it is."""
        return image

    def __call__(self, batch):
        """([B, F] float32, [B] bool: whether a row is valid)."""
        if batch.dtype == tf.string:
            found = self._embed_files(image_bytes=batch)
            return found["embedding"].numpy(), found["valid"].numpy()
        found = self._embed_pixels(images=batch)
        return found["embedding"].numpy(), tf.ones(len(batch), tf.bool).numpy()


def _received(error):
    """The last part of another error about the same path."""
    return str(error)[max(str(error).find("Received:"), 0) :]


def _image_size(model, asked):
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3:
        raise ValueError(
            "`encoder` must take images [B, H, W, 3]. "
            f"Received: an encoder with inputs {shape}"
        )
    found = shape[1:3]
    if None not in found:
        _check_size(found, asked)
        return found
    if asked is None:
        raise ValueError(
            "`image_size` must be given, since the encoder takes any size. "
            "Received: image_size=None"
        )
    return preprocessing.height_width(asked)


def _check_size(found, asked):
    if asked is not None and preprocessing.height_width(asked) != tuple(found):
        raise ValueError(
            "`image_size` must be what the encoder takes, "
            f"{found[0]} x {found[1]}. Received: image_size={asked}"
        )


def _num_features(model):
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            "`encoder` must give embeddings [B, F]. "
            f"Received: an encoder with outputs {shape}"
        )
    return shape[1]


def _digest(paths):
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
