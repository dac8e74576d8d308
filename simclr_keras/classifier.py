"""An encoder with a classifier on it, trained with labels."""

import re

import keras
import tensorflow as tf

from simclr_keras import augment
from simclr_keras import distribution
from simclr_keras import heads

# Google's --fine_tune_after_block: what is frozen for each value.
FROZEN = {
    -1: "nothing",
    0: "the stem",
    1: "the stem and the first group of blocks",
    2: "the stem and two groups of blocks",
    3: "the stem and three groups of blocks",
    4: "the whole encoder",
}


class Classifier(keras.Model):
    """Fine-tunes an encoder, or some of it, below a new linear classifier.

    The network is the encoder, the projection head up to and with one of its
    layers (SimCLRv2, section 2; none for `ft_proj_selector` 0), and a linear
    classifier that starts anew, since the online probe of pretraining has
    seen all labels. Layers behind the selected one are left out. Google's
    TF2 code runs them all the same, and where the optimizer is not LARS lets
    weight decay shrink them.

    `fit` takes a dataset of (images, labels): images [B, H, W, 3], uint8 or
    float in [0, 1], which `augmenter` crops on the device; or [B, 1, S, S, 3]
    float, crops made beforehand. Labels are integers [B].

    Calling the model classifies: images [B, S, S, 3] in [0, 1] -> logits
    [B, K] float32. `encoder` and `classifier`, [B, F] -> [B, K], are its
    parts; both are functional, for saving and export.

    Args:
        encoder: built functional `keras.Model`, images -> [B, F]. It becomes
            part of this model, which changes what of it is trainable.
        num_classes: K.
        projection_head: model from `simclr_keras.projection_head`, for
            `ft_proj_selector` other than 0; becomes part of this model too.
        augmenter: what makes a view of an image, from `simclr_keras.augmenter`
            without colour and blur; None takes images as they are.
        ft_proj_selector: layer of the head that the classifier reads, 0 for
            the embedding itself, -1 for the projection.
        fine_tune_after_block: -1 trains everything; 0 freezes the stem, 1 to
            3 also the groups of blocks up to that one, 4 the encoder. The
            head and the classifier always train.
        zero_init_logits_layer: whether the classifier starts at zero.
        move_frozen_statistics: whether frozen batch norms use the statistics
            of the batch and move theirs, as in Google's TF2 code. By default
            frozen parts run as in inference and stay bit-identical.
        seed: int, from which with the step and the image's place in the batch
            all crops follow, and the initial classifier.

    Raises:
        ValueError: if the parts do not fit each other, or a number is out of
            its range.
    """

    def __init__(
        self,
        encoder,
        num_classes,
        *,
        projection_head=None,
        augmenter=None,
        ft_proj_selector=0,
        fine_tune_after_block=-1,
        zero_init_logits_layer=False,
        move_frozen_statistics=False,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.augmenter = augmenter
        self.seed = seed
        self.classifier = _classifier(
            encoder.output_shape[-1],
            projection_head,
            ft_proj_selector,
            num_classes,
            seed,
        )
        if zero_init_logits_layer:
            linear = self.classifier.layers[-1]
            linear.set_weights([0 * w for w in linear.get_weights()])
        frozen = _frozen_layers(encoder, fine_tune_after_block)
        for layer in frozen:
            _freeze(layer, move_frozen_statistics)
        self.frozen_weights = [w for layer in frozen for w in layer.weights]
        # Keras would make its own in the first step, when a checkpoint has
        # been restored already.
        self.top1 = keras.metrics.SparseCategoricalAccuracy(name="top1")
        self.built = True

    def call(self, images, training=False):
        h = self.encoder(images, training=training)
        return self.classifier(h, training=training)

    def compile(self, optimizer="rmsprop", **kwargs):
        """As Keras' `compile`; the loss is cross-entropy."""
        super().compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **kwargs,
        )
        # Slots must exist before a checkpoint is restored into them.
        self.optimizer.build(self.trainable_variables)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.top1.update_state(y, y_pred)
        return self.get_metrics_result()

    def train_step(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        learning_rate = self.optimizer.learning_rate
        logs = super().train_step((self._views(images), labels))
        return distribution.logs(logs | {"learning_rate": learning_rate})

    def _views(self, images):
        cropped = len(images.shape) == 5
        if cropped:
            images = images[:, 0]
        if self.augmenter is None:
            return images
        step = self.optimizer.iterations
        batch_size = images.shape[0] or tf.shape(images)[0]
        # The views are those of one replica with the whole batch.
        return self.augmenter(
            images,
            seed=augment.fold_seed(self.seed, step),
            first_row=distribution.replica_id() * batch_size,
            num_rows=distribution.num_replicas() * batch_size,
            cropped=cropped,
        )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Everything is built already; Keras would draw a batch to find out.
        if not self.optimizer.built:
            super()._maybe_symbolic_build(
                iterator=iterator, data_batch=data_batch
            )


def _classifier(features, projection_head, selector, num_classes, seed):
    """Model of the head up to the selected layer and a linear classifier."""
    if selector == 0:
        return heads.linear_probe(features, num_classes, seed=seed)
    if projection_head is None:
        raise ValueError(
            "`projection_head` must be given to read one of its layers. "
            f"Received: ft_proj_selector={selector}"
        )
    outputs = heads.head_outputs(projection_head).outputs
    if not -1 <= selector < len(outputs):
        raise ValueError(
            f"`ft_proj_selector` must be from -1 to {len(outputs) - 1}. "
            f"Received: ft_proj_selector={selector}"
        )
    if projection_head.input_shape[-1] != features:
        raise ValueError(
            "`projection_head` must take as many features as `encoder` gives. "
            f"Received: {projection_head.input_shape[-1]} and {features}"
        )
    read = outputs[selector]
    probe = heads.linear_probe(read.shape[-1], num_classes, seed=seed)
    return keras.Model(
        projection_head.input,
        probe.layers[-1](read),
        name="classifier",
    )


def _frozen_layers(encoder, after_block):
    """The layers that `fine_tune_after_block` leaves as they are."""
    if after_block not in FROZEN:
        raise ValueError(
            f"`fine_tune_after_block` must be one of {[*FROZEN]}. "
            f"Received: fine_tune_after_block={after_block}"
        )
    layers = [layer for layer in encoder.layers if layer.weights]
    if after_block in (-1, 4):
        return layers if after_block == 4 else []
    blocks = {layer.name: _block(layer.name) for layer in layers}
    unknown = [name for name, block in blocks.items() if block is None]
    if unknown:
        raise ValueError(
            "`fine_tune_after_block` must be -1 or 4 for an encoder whose "
            "layers are not named as those of `resnet`. "
            f"Received: fine_tune_after_block={after_block} and a layer "
            f"named {unknown[0]}"
        )
    return [layer for layer in layers if blocks[layer.name] <= after_block]


def _block(name):
    found = re.match(r"stem|group([1-4])(?:_|$)", name)
    return found and int(found[1] or 0)


def _freeze(layer, move_statistics):
    if not move_statistics:
        layer.trainable = False
        return
    # The layer itself stays trainable, for batch norm to take the statistics
    # of the batch.
    for variable in layer.trainable_variables:
        variable.trainable = False
