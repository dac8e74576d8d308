"""SimCLR as a Keras model: two views, one forward pass, one loss."""

import keras
import tensorflow as tf

from simclr_keras import augment
from simclr_keras import checks
from simclr_keras import distribution
from simclr_keras import gradient_cache
from simclr_keras import heads
from simclr_keras import losses
from simclr_keras import metrics
from simclr_keras import optimizers
from simclr_keras import preprocessing

# Google's code sums the loss over both directions, `nt_xent` averages over
# all views. The sum is what is differentiated, so that published learning
# rates and weight decays keep their meaning; the mean is what is reported.
_DIRECTIONS = 2.0


@keras.saving.register_keras_serializable("simclr_keras")
class SimCLR(keras.Model):
    """Trains an encoder so that two views of an image embed alike.

    SimCLR (arXiv:2002.05709, algorithm 1). Each step draws two random views
    of every image, encodes all of them in one pass, so that batch norm sees
    both, and minimises `nt_xent` between their projections. With `num_classes`
    a linear probe learns on the embeddings at the same time, behind a stopped
    gradient, so that labels never reach the encoder.

    `fit` takes a dataset of images or of (images, labels):
    images [B, H, W, 3], uint8 or float in [0, 1], which `augmenter` crops and
    distorts on the device; or [B, 2, S, S, 3] float, two crops of each image
    made beforehand, whose colours alone are distorted. Labels are integers
    [B] or [B, 1]; -1 marks an image without one. Batches must be full
    (`drop_remainder=True`).

    Calling the model embeds: images [B, S, S, 3], uint8 or float in [0, 1] ->
    [B, F] float32.

    Metrics: `loss` (mean over the 2G views; chance level ln(2G - 1)),
    `contrastive_accuracy`, `contrastive_entropy` (nats), `embedding_std`
    (spread of the l2-normalised embeddings: 0 when they have collapsed into
    one point, about 1 when they fill the sphere), `learning_rate`, and with
    labels `probe_loss`, `probe_top1`, `probe_top5`.

    Args:
        encoder: built `keras.Model`, images -> [B, F].
        projection_head: built `keras.Model`, [B, F] -> [B, D].
        augmenter: what makes a view, from `simclr_keras.augmenter`; None if
            the dataset brings finished views [B, 2, S, S, 3].
        num_classes: classes of the online linear probe; None for no probe.
        temperature: float > 0, of `nt_xent`.
        hidden_norm: whether `nt_xent` l2-normalises the projections.
        ft_proj_selector: layer of the projection head that the probe reads,
            0 for the embedding itself, -1 for the projection.
        micro_batch_size: images per replica that are encoded at a time, each
            step, for batches whose activations do not fit in memory; None for
            all at once. The gradient of the contrastive loss is that of the
            whole batch (see `gradient_cache`), at the price of one more
            forward pass; batch norm in the encoder takes its statistics from
            each micro-batch, that in the head from the whole batch. Must
            divide the replica's batch.
        seed: int, from which with the step, the view and the image's place in
            the global batch all random numbers follow.

    Raises:
        ValueError: if the models do not fit each other, or `temperature`,
            `num_classes` or `micro_batch_size` is out of range.
    """

    def __init__(
        self,
        encoder,
        projection_head,
        augmenter=None,
        *,
        num_classes=None,
        temperature=0.1,
        hidden_norm=True,
        ft_proj_selector=0,
        micro_batch_size=None,
        seed=0,
        **kwargs,
    ):
        checks.models(encoder, projection_head, num_classes, temperature)
        checks.micro_batch(micro_batch_size, encoder)
        super().__init__(**kwargs)
        self.encoder = encoder
        self.projection_head = projection_head
        self.augmenter = augmenter
        self.num_classes = num_classes
        self.temperature = temperature
        self.hidden_norm = hidden_norm
        self.ft_proj_selector = ft_proj_selector
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self._head_outputs = heads.head_outputs(projection_head)
        self.linear_probe = None
        self.worker_flag = None
        self._trackers = {name: metrics.GlobalMean(name) for name in _LOGS}
        if num_classes is not None:
            read = self._head_outputs.output_shape[ft_proj_selector][-1]
            self.linear_probe = heads.linear_probe(read, num_classes)
            self._trackers |= {
                name: metrics.GlobalMean(name) for name in _PROBE_LOGS
            }
        self.built = True

    def call(self, images, training=False):
        h = self.encoder(preprocessing.to_float(images), training=training)
        return tf.cast(h, tf.float32)

    def compile(self, optimizer="rmsprop", **kwargs):
        checks.compiled_with(kwargs)
        super().compile(optimizer=optimizer, **kwargs)
        # Slots must exist before `fit`, in the strategy's scope, or Keras
        # draws a batch to make them and training starts at the second one.
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        # Keras leaves out models that override `compile`, as this one does.
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        return list(self._trackers.values())

    def views(self, images, step, first_row=0, num_rows=None):
        """Two views of each image, first views first.

        Args:
            images: as for `fit`.
            step: int or scalar tensor; equal steps give equal views.
            first_row, num_rows: ints or scalar tensors: the images are those
                from number `first_row` on of a batch of `num_rows`, and get
                the views they would have in it. None if they are the batch.

        Returns:
            [2B, S, S, 3] float32 in [0, 1].
        """
        images = checks.in_range(images)
        cropped = len(images.shape) == 5
        pair = tf.unstack(images, axis=1) if cropped else [images, images]
        if self.augmenter is None:
            if not cropped:
                raise ValueError(
                    "Without an `augmenter`, images must be finished views "
                    f"[B, 2, S, S, 3]. Received: shape {images.shape}"
                )
            return tf.concat([preprocessing.to_float(v) for v in pair], axis=0)
        return tf.concat(
            [
                self.augmenter(
                    view,
                    seed=augment.fold_seed(self.seed, step, number),
                    first_row=first_row,
                    num_rows=num_rows,
                    cropped=cropped,
                )
                for number, view in enumerate(pair)
            ],
            axis=0,
        )

    def train_step(self, data):
        images, labels = checks.unpacked(
            data, labels_needed=self.num_classes is not None
        )
        learning_rate = self.optimizer.learning_rate
        weights = self.trainable_variables
        size = self.micro_batch_size
        batch_size = images.shape[0] or tf.shape(images)[0]
        if size is None or size == images.shape[0]:
            with tf.GradientTape() as tape:
                h = self.encoder(
                    self._global_views(images, batch_size), training=True
                )
                objective = self._objective(h, labels)
            gradients = tape.gradient(objective, weights)
        else:
            parts = _parts(images, size)
            gradients = gradient_cache.gradients(
                lambda part: self._global_views(
                    parts[part], batch_size, part * size
                ),
                lambda views: self.encoder(views, training=True),
                _rows_of(self.encoder, 2 * size),
                lambda h: self._objective(h, labels),
                [weight.value for weight in weights],
                parts.shape[0],
            )
        optimizers.apply_gradients(self.optimizer, gradients, weights)
        logs = self._logs() | {"learning_rate": learning_rate}
        if self.worker_flag is not None:
            logs["interrupted"] = self.worker_flag.count()
        return distribution.logs(logs)

    def test_step(self, data):
        images, labels = checks.unpacked(data)
        h = self.encoder(self.views(images, step=-1), training=False)
        self._both_losses(h, labels, training=False)
        return distribution.logs(self._logs())

    def _global_views(self, images, batch_size, first=0):
        """This step's views of some of the replica's images, `first` on.

        They are those of one replica with the whole batch.
        """
        return self.views(
            images,
            self.optimizer.iterations,
            first_row=distribution.replica_id() * batch_size + first,
            num_rows=distribution.num_replicas() * batch_size,
        )

    def _objective(self, h, labels):
        """What is descended, over this replica's share of the batch."""
        loss, probe_loss = self._both_losses(h, labels, training=True)
        # Gradients are summed over replicas.
        objective = _DIRECTIONS * loss + probe_loss
        objective /= distribution.num_replicas()
        return self.optimizer.scale_loss(objective)

    def _both_losses(self, h, labels, training):
        """NT-Xent and the probe's loss, with all metrics updated on the way."""
        *hidden, z = self._head_outputs(h, training=training)
        z1, z2 = tf.split(z, 2)
        loss, accuracy, entropy = losses.contrastive(
            z1, z2, self.temperature, self.hidden_norm
        )
        self._track(
            loss=loss,
            contrastive_accuracy=accuracy,
            contrastive_entropy=entropy,
            embedding_std=_embedding_std(h),
        )
        if self.linear_probe is None or labels is None:
            return loss, 0.0
        read = [*hidden, z][self.ft_proj_selector]
        return loss, self._probe_loss(tf.stop_gradient(read), labels)

    def _probe_loss(self, features, labels):
        labels = checks.labels_in_range(labels, self.num_classes)
        labels = tf.concat([labels, labels], axis=0)
        labelled = tf.cast(labels >= 0, tf.float32)
        logits = tf.cast(self.linear_probe(features), tf.float32)
        targets = tf.maximum(labels, 0)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        # Over all rows, labelled or not, so that replicas with unequally many
        # labels still add up to the global batch.
        objective = tf.reduce_mean(loss * labelled)
        own = tf.gather(logits, targets[:, None], batch_dims=1)
        better = tf.reduce_sum(tf.cast(logits > own, tf.int32), axis=1)
        self._track(
            labelled,
            probe_loss=loss,
            probe_top1=tf.cast(better < 1, tf.float32),
            probe_top5=tf.cast(better < 5, tf.float32),
        )
        return objective

    def _track(self, sample_weight=None, **values):
        metrics.update(
            self._trackers,
            values,
            sample_weight,
            skip_overflow=optimizers.scales_loss(
                getattr(self, "optimizer", None)
            ),
        )

    def _logs(self):
        return {name: m.result() for name, m in self._trackers.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Everything is built already; Keras would draw a batch to find out.
        if not self.optimizer.built:
            super()._maybe_symbolic_build(
                iterator=iterator, data_batch=data_batch
            )

    def get_config(self):
        parts = ("encoder", "projection_head", "augmenter")
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in parts
            },
            "num_classes": self.num_classes,
            "temperature": self.temperature,
            "hidden_norm": self.hidden_norm,
            "ft_proj_selector": self.ft_proj_selector,
            "micro_batch_size": self.micro_batch_size,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        for name in ("encoder", "projection_head", "augmenter"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


_LOGS = ("loss", "contrastive_accuracy", "contrastive_entropy", "embedding_std")
_PROBE_LOGS = ("probe_loss", "probe_top1", "probe_top5")


def _embedding_std(h):
    unit = tf.math.l2_normalize(tf.cast(h, tf.float32), axis=1)
    width = tf.cast(tf.shape(h)[1], tf.float32)
    center = distribution.mean(tf.reduce_mean(unit, axis=0))
    spread = tf.reduce_mean(tf.square(unit - center), axis=0)
    std = tf.sqrt(distribution.mean(spread))
    return tf.reduce_mean(std) * tf.sqrt(width)


def _rows_of(encoder, num_rows):
    """The `tf.TensorSpec` of that many embeddings."""
    (output,) = encoder.outputs
    return tf.TensorSpec([num_rows, *output.shape[1:]], output.dtype)


def _parts(images, size):
    """[B, ...] -> [B / size, size, ...]."""
    batch_size, *shape = images.shape
    if batch_size is None or batch_size % size:
        raise ValueError(
            "`micro_batch_size` must divide the batch of each replica, which "
            "must be known when the step is traced (drop_remainder=True). "
            f"Received: micro_batch_size={size} and a batch of {batch_size}"
        )
    return tf.reshape(images, [batch_size // size, size, *shape])
