"""Small data and models that the evaluation tests share."""

import functools

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from simclr_keras.evaluation.features import Features


def dataset(images, labels=None, batch_size=64):
    tensors = images if labels is None else (images, labels)
    return tf.data.Dataset.from_tensor_slices(tensors).batch(batch_size)


@functools.cache
def digits():
    """Pixels of scikit-learn's digits: 1,400 to train, 397 to test."""
    x, y = load_digits(return_X_y=True)
    x, xt, y, yt = train_test_split(
        x.astype(np.float32) / 16, y, test_size=397, stratify=y, random_state=0
    )
    return Features(x, y), Features(xt, yt)


def digit_datasets(train=1400, test=397):
    """The same as datasets of three-channel images and labels."""
    parts = zip(digits(), (train, test), strict=True)
    return [
        dataset(
            np.repeat(part.x.reshape(-1, 8, 8, 1), 3, axis=-1)[:size],
            part.labels[:size],
        )
        for part, size in parts
    ]


def encoder(size=8, features=16):
    """Convolution, batch norm with moved statistics, ReLU, mean."""
    images = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(features, 3)(images)
    norm = keras.layers.BatchNormalization(name="bn")
    x = keras.layers.ReLU()(norm(x))
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    norm.moving_mean.assign(np.linspace(-0.1, 0.1, features))
    norm.moving_variance.assign(np.linspace(0.5, 2.0, features))
    return model


def clusters(num, num_classes, features=6, noise=1.0, seed=0):
    """Gaussian classes around centres that do not depend on the seed."""
    centres = np.random.default_rng(99).standard_normal((num_classes, features))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    x = centres[labels] + noise * rng.standard_normal((num, features))
    return Features(x.astype(np.float32), labels)
