"""What an exported model answers: one function per signature.

| signature         | input                                              |
|-------------------|----------------------------------------------------|
| `serving_default` | `image_bytes` [B] string: files                    |
| `embed`           | `images` [B, h, w, 3] float32 in [0, 1]            |
| `embed_uint8`     | `images` [B, h, w, 3] uint8                        |
| `classify`        | as `embed`; these two exist only with a classifier |
| `classify_uint8`  | as `embed_uint8`                                   |

All return dicts, float32, of tensors whose first dimension is B (0 too), which
is what TensorFlow Serving's REST interface can carry. Images of any size are
cropped and resized as in evaluation; floats outside [0, 1] are clipped.
"""

import tensorflow as tf

from simclr_keras import preprocessing
from simclr_keras.export import decoding

_TOP = 5


class Network:
    """Encoder and heads as one function per kind of output.

    Args:
        encoder: keras.Model, [B, S, S, 3] float32 -> [B, F].
        classifier: keras.Model, [B, F] -> [B, K] logits; or None.
        projection_head: keras.Model, [B, F] -> [B, D]; or None.
        image_size: (height, width) of the encoder's input.
    """

    def __init__(self, encoder, classifier, projection_head, image_size):
        self.encoder = encoder
        self.classifier = classifier
        self.projection_head = projection_head
        self.image_size = image_size
        # Traced once for all signatures: the largest part of the export's
        # time and of the graph.
        self._encode = tf.function(
            lambda images: _float32(encoder(images, training=False)),
            autograph=False,
        ).get_concrete_function(tf.TensorSpec([None, *image_size, 3]))

    def features(self, images):
        """[B, F] float32 of preprocessed images, also for B = 0."""
        size = tf.shape(images)[0]
        # Convolutions through oneDNN fail on an empty batch.
        images = tf.cond(
            size > 0,
            lambda: images,
            lambda: tf.zeros([1, *images.shape[1:]]),
        )
        return self._encode(images)[:size]

    def projection(self, features):
        """{"projection": [B, D]}, or nothing without a head."""
        if self.projection_head is None:
            return {}
        outputs = self.projection_head(features, training=False)
        return {"projection": _float32(outputs)}

    def classes(self, features):
        """Probabilities [B, K] and the most probable classes [B, k]."""
        if self.classifier is None:
            return {}
        logits = _float32(self.classifier(features, training=False))
        probabilities = tf.nn.softmax(logits)
        top = tf.math.top_k(probabilities, k=min(_TOP, logits.shape[-1]))
        return {
            "probabilities": probabilities,
            "classes": tf.cast(top.indices, tf.int64),
            "scores": top.values,
        }


def signatures(network):
    """The functions to export.

    Args:
        network: Network.

    Returns:
        name -> tf.function of one tensor to a dict, with an input signature
    """

    def serving_default(image_bytes):
        images, valid = decoding.decode_batch(image_bytes, network.image_size)
        features = network.features(images)
        outputs = {"embedding": features} | network.classes(features)
        outputs = {
            name: tf.where(valid[:, None], value, tf.zeros_like(value))
            for name, value in outputs.items()
        }
        return outputs | {"valid": valid}

    def embed(images):
        features = network.features(_preprocess(images))
        return {"embedding": features} | network.projection(features)

    def classify(images):
        return network.classes(network.features(_preprocess(images)))

    def _preprocess(images):
        return preprocessing.preprocess(images, network.image_size)

    floats = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
    bytes_ = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
    files = tf.TensorSpec([None], tf.string, name="image_bytes")
    result = {
        "serving_default": (serving_default, files),
        "embed": (embed, floats),
        "embed_uint8": (embed, bytes_),
    }
    if network.classifier is not None:
        result["classify"] = (classify, floats)
        result["classify_uint8"] = (classify, bytes_)
    return {
        name: tf.function(function, input_signature=[spec], autograph=False)
        for name, (function, spec) in result.items()
    }


def _float32(tensor):
    # Neither JSON nor all clients can carry what mixed precision computes in.
    return tf.cast(tensor, tf.float32)
