"""A small exported model, and images for it."""

import io

import keras
import numpy as np
from PIL import Image

from simclr_keras import export

SIZE, FEATURES, CLASSES, PROJECTION = 16, 6, 7, 3


def write(folder, seed=0, classes=CLASSES):
    """Exports the next version in `folder`; its path."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(FEATURES, 3, strides=2, use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return export.export_saved_model(
        keras.Model(inputs, x),
        export.next_version(folder),
        image_size=SIZE,
        classifier=classes and _dense(classes),
        projection_head=_dense(PROJECTION),
    )


def pixels(count, height=20, width=30, seed=0):
    """[count, height, width, 3] uint8."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, height, width, 3), np.uint8)


def file(image, form="PNG"):
    """An image as the content of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def _dense(units):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, keras.layers.Dense(units)(inputs))
