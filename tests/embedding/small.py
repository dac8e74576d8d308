"""A small encoder and small images, shared by the tests of embeddings."""

import io

import keras
import numpy as np
from PIL import Image

SIZE, NUM_FEATURES = 8, 5


def encoder():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(NUM_FEATURES, 3, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def means():
    """Embeds an image as the means of its channels."""
    inputs = keras.Input((SIZE, SIZE, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, outputs)
