"""The classifier that teaches in distillation, from where it was left."""

import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from simclr_keras import checkpoints
from simclr_keras import conversion
from simclr_keras import preprocessing

# What `--train_mode=finetune` leaves in its model_dir.
_ENCODER, _CLASSIFIER = "encoder.keras", "classifier.keras"
# Of a SavedModel, in the order in which they are looked for.
_SIGNATURES = ("classify", "serving_default", "serve")
_OUTPUTS = ("logits", "logits_sup", "probabilities")
_EMBEDDINGS = ("embedding", "projection")
_SMALLEST = np.finfo(np.float32).tiny


class Teacher:
    """A classifier that stays as it is.

    Calling it classifies: images [B, h, w, 3] float32 in [0, 1] -> logits
    [B, K] float32, or the logarithms of what its network gives as
    probabilities, which have the same softmax. Images of another size than
    the network's are resized (bicubic, as in evaluation).

    Attributes:
        name: str, the path that it was read from.
        weights: list of variables.
        image_size: (height, width) that the network takes.
        num_classes: int K.
    """

    def __init__(self, name, network):
        self.name = name
        self.weights = network.weights
        self.image_size = network.image_size
        self._function = network.function
        noise = np.random.default_rng(0).uniform(
            size=[4, *network.image_size, 3]
        )
        outputs = self._function(tf.constant(noise, tf.float32)).numpy()
        self.num_classes = _num_classes(name, outputs)
        self._gives_probabilities = bool(
            (outputs >= 0).all()
            and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
        )

    @property
    def output_shape(self):
        return None, self.num_classes

    def count_params(self):
        """How many numbers its weights are."""
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    def __call__(self, images, training=False):
        images = tf.convert_to_tensor(images)
        if not images.shape[1:3].is_compatible_with(self.image_size):
            images = preprocessing.center_crop_and_resize(
                images, self.image_size, 1.0
            )
        outputs = tf.cast(self._function(images), tf.float32)
        if self._gives_probabilities:
            return tf.math.log(tf.maximum(outputs, _SMALLEST))
        return outputs


def load_teacher(
    path: str | os.PathLike,
    image_size: int,
    *,
    num_classes: int | None = None,
    ft_proj_selector: int = 0,
) -> Teacher:
    """Reads a teacher.

    Args:
        path: the `model_dir` of a run with `--train_mode=finetune` or
            `distill`; a `.keras` file of a model of images to logits or
            probabilities; a SavedModel exported by this package with a
            classifier, or the folder of its versions, of which the highest
            is taken; another SavedModel with a signature of float images in
            [0, 1] to logits or probabilities; or a checkpoint of
            google-research/simclr with a supervised head.
        image_size: int, of the views, for networks that take any size.
        num_classes: of the data; None for those of the teacher.
        ft_proj_selector: for Google's checkpoints, as
            `conversion.Converted.classifier` takes it.

    Raises:
        ValueError: if there is none at `path`, or it has other classes.
    """
    network = _network(path, image_size, ft_proj_selector)
    teacher = Teacher(os.fspath(path), network)
    if num_classes not in (None, teacher.num_classes):
        raise ValueError(
            f"`path` must hold a classifier of the data's {num_classes} "
            f"classes. Received: {path}, which gives {teacher.num_classes} "
            "numbers for an image. If they are classes, they are those of "
            "other data; if they are an embedding, there is no classifier on "
            "it yet: --train_mode=finetune trains one"
        )
    return teacher


class _Network(NamedTuple):
    """images [B, *image_size, 3] -> [B, K], and its variables."""

    function: object
    weights: list
    image_size: tuple[int, int]


def _network(path, image_size, selector):
    local = pathlib.Path(path)
    if (local / _ENCODER).is_file():
        return _of_run(local, image_size)
    if local.suffix == ".keras":
        return _of_models(image_size, checkpoints.load_encoder(local))
    folder = _saved_model(local)
    if folder is not None:
        loaded = _loaded(folder)
        # Google's TF2 code exports without any.
        if loaded.signatures:
            return _of_signature(folder, loaded, image_size)
    return _of_google(path, image_size, selector)


def _of_run(folder, image_size):
    if not (folder / _CLASSIFIER).is_file():
        raise ValueError(
            "`path` must hold a classifier. Received: "
            f"{folder}, a run without {_CLASSIFIER}: its encoder gives "
            "embeddings, and --train_mode=finetune --checkpoint="
            f"{folder} in another --model_dir trains a classifier on them"
        )
    parts = [
        checkpoints.load_encoder(folder / name)
        for name in (_ENCODER, _CLASSIFIER)
    ]
    return _of_models(image_size, *parts)


def _of_models(image_size, *models):
    """Functional models, one after the other."""
    shape = models[0].input_shape
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            "`path` must hold a model of images [B, h, w, 3]. Received: a "
            f"model of inputs {shape}"
        )

    def function(x):
        for model in models:
            x = model(x, training=False)
        return x

    weights = [weight for model in models for weight in model.weights]
    return _Network(function, weights, _size(shape[1:3], image_size))


def _saved_model(path):
    """The SavedModel at a path, or the highest version in it; or None."""
    versions = [p for p in path.glob("[0-9]*") if p.name.isdigit()]
    versions.sort(key=lambda version: int(version.name))
    for folder in (path, *reversed(versions)):
        if (folder / "saved_model.pb").is_file():
            # A hub module is for TensorFlow 1: its weights are converted.
            is_hub_module = (folder / "tfhub_module.pb").is_file()
            return None if is_hub_module else folder
    return None


def _loaded(folder):
    try:
        return tf.saved_model.load(folder)
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            "`path` must be a SavedModel that this TensorFlow reads. Received: "
            f"{folder} ({str(error).splitlines()[0]})"
        ) from error


def _of_signature(path, loaded, image_size):
    key, output = _endpoint(path, loaded.signatures)
    signature = loaded.signatures[key]
    [spec] = signature.structured_input_signature[1].values()
    size, crop = _size(spec.shape[1:3], image_size), 1.0
    metadata = path / "metadata.json"
    if metadata.is_file():
        known = json.loads(metadata.read_text(encoding="utf-8"))
        size = tuple(known.get("image_size", size))
        crop = known.get("crop_proportion", 1.0)

    def function(images):
        return signature(**{spec.name: _framed(images, crop)})[output]

    return _Network(function, list(signature.variables), size)


def _endpoint(path, signatures):
    """The signature of images to classes, and its output's name."""
    found = []
    for key, signature in signatures.items():
        specs = list(signature.structured_input_signature[1].values())
        if (
            len(specs) == 1
            and specs[0].dtype == tf.float32
            and specs[0].shape.rank == 4
        ):
            outputs = _class_outputs(signature.structured_outputs)
            found += [(key, name) for name in outputs]
    if not found:
        raise ValueError(
            "`path` must have a signature of float images [B, h, w, 3] to "
            f"classes. Received: {path}, with the signatures "
            f"{', '.join(signatures)}; an export of this package has one named "
            "classify if a classifier was exported with the encoder"
        )

    def rank(item):
        return tuple(
            known.index(name) if name in known else len(known)
            for name, known in zip(item, (_SIGNATURES, _OUTPUTS), strict=True)
        )

    return min(found, key=rank)


def _class_outputs(outputs):
    """Names of what can be logits or probabilities."""
    named = [name for name in _OUTPUTS if name in outputs]
    alone = [name for name in outputs if name not in _EMBEDDINGS]
    return named or (alone if len(outputs) == 1 else [])


def _of_google(path, image_size, selector):
    _, problem = conversion.search(path)
    if problem is not None:
        raise ValueError(
            "`path` must be the model_dir of a fine-tuned run, a .keras file, "
            "a SavedModel, or a checkpoint of google-research/simclr. "
            f"Received: {path}, {problem}"
        )
    converted = conversion.from_google(path, image_size)
    classifier = converted.classifier(selector)
    if classifier is None:
        raise ValueError(
            "`path` must hold a classifier. Received: "
            f"{path}, with {converted.recognised} and no supervised head"
        )
    return _of_models(image_size, converted.encoder, classifier)


def _framed(images, crop):
    """A frame around `images`, which the crop of an export cuts off."""
    if crop == 1.0:
        return images
    size = tuple(images.shape[1:3])
    outer = [round(side / crop) for side in size]
    box = preprocessing.center_box(*map(tf.constant, outer), size, crop)
    y, x = box[:2]
    return tf.pad(
        images,
        [
            [0, 0],
            [y, outer[0] - size[0] - y],
            [x, outer[1] - size[1] - x],
            [0, 0],
        ],
    )


def _size(shape, image_size):
    """(height, width), where the network leaves one open that of the views."""
    return tuple(side or image_size for side in shape)


def _num_classes(name, outputs):
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            "`path` must hold a model of images to logits or probabilities "
            f"[B, K]. Received: {name}, whose outputs are "
            f"{['B', *outputs.shape[1:]]}"
        )
    return outputs.shape[1]
