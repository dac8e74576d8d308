"""A student that learns from unlabelled images what a teacher makes of them."""

import keras
import tensorflow as tf

from simclr_keras import augment
from simclr_keras import distribution
from simclr_keras import metrics
from simclr_keras import optimizers
from simclr_keras import preprocessing

_LOGS = ("loss", "teacher_entropy", "teacher_agreement")


class Distiller(keras.Model):
    """Trains a student to classify as a teacher does, mostly without labels.

    SimCLRv2 (arXiv:2006.10029), section 2: a network that was fine-tuned on
    few labels teaches one of the same kind (self-distillation) or a smaller
    one on all images. Each step makes one view of every image, which both
    see; the loss is the mean over the batch of

        -alpha * sum_y P_T(y | x) log P_S(y | x) - (1 - alpha) * log p_S(label)

    with P the softmax of logits / `temperature` and p that of the logits:
    equations 2 and, with `alpha` below 1, 3. The second term is 0 for an
    image without a label, so that, as in the paper's sums, few labels weigh
    little. What is descended has the first term times temperature ** 2, as in
    Google's code: its gradient would grow as the temperature falls, and
    learning rates for one temperature diverge at another.

    `fit` takes a dataset of images or of (images, labels): images
    [B, H, W, 3], uint8 or float in [0, 1], which `augmenter` crops on the
    device; or [B, 1, S, S, 3] float, crops made beforehand. Labels are
    integers [B], -1 for an image without one; with `alpha` 1 they count in
    `top1` alone. Batches must be full (`drop_remainder=True`). `evaluate`
    takes images as they are, [B, S, S, 3].

    Calling the model classifies with the student.

    Metrics: `loss`; `teacher_entropy`, below which the loss cannot fall with
    `alpha` 1 (nats, of P_T); `teacher_agreement`, the share of views that
    both put in the same class; `learning_rate`; and with labels `top1`.

    Args:
        teacher: `keras.Model`, [B, S, S, 3] in [0, 1] -> logits [B, K], or a
            `teacher.Teacher`. It runs as in inference and is no part of this
            model: neither trained nor saved with it.
        student: built `keras.Model` of the same, such as a `Classifier`;
            with the attributes `encoder` and `classifier` this model has them
            too.
        augmenter: what makes a view of an image, from `simclr_keras.augmenter`
            without colour and blur, as the paper has it; None takes images as
            they are.
        temperature: float > 0. The paper has 1.0 for a smaller student, 0.1
            for self-distillation.
        alpha: float from 0, labels alone, to 1, the teacher alone.
        seed: int, from which with the step and the image's place in the
            global batch all crops follow.

    Raises:
        ValueError: if the models do not fit each other or share weights, or
            `temperature` or `alpha` is out of its range.
    """

    def __init__(
        self,
        teacher,
        student,
        *,
        augmenter=None,
        temperature=1.0,
        alpha=1.0,
        seed=0,
        **kwargs,
    ):
        _check_numbers(temperature, alpha)
        _check_models(teacher, student)
        super().__init__(**kwargs)
        self.student = student
        # Behind a function, where Keras does not look for parts of a model.
        self._teacher = lambda: teacher
        self.augmenter = augmenter
        self.temperature = temperature
        self.alpha = alpha
        self.seed = seed
        self.worker_flag = None
        self._trackers = {name: metrics.GlobalMean(name) for name in _LOGS}
        self._top1 = metrics.GlobalMean("top1")
        self.built = True

    @property
    def teacher(self):
        return self._teacher()

    @property
    def encoder(self):
        return self.student.encoder

    @property
    def classifier(self):
        return self.student.classifier

    @property
    def metrics(self):
        return [*self._trackers.values(), self._top1]

    def call(self, images, training=False):
        return self.student(images, training=training)

    def compile(self, optimizer="rmsprop", **kwargs):
        super().compile(optimizer=optimizer, **kwargs)
        # Slots must exist before a checkpoint is restored into them.
        self.optimizer.build(self.trainable_variables)

    def train_step(self, data):
        images, labels = _unpack(data)
        learning_rate = self.optimizer.learning_rate
        weights = self.trainable_variables
        views = self._views(images)
        taught = _float32(self.teacher(views, training=False))
        with tf.GradientTape() as tape:
            logits = _float32(self.student(views, training=True))
            of_teacher, of_labels = self._terms(logits, taught, labels)
            objective = self.temperature**2 * of_teacher + of_labels
            # Gradients are summed over replicas.
            objective = self.optimizer.scale_loss(
                objective / distribution.num_replicas()
            )
        gradients = tape.gradient(objective, weights)
        logs = self._logs(of_teacher + of_labels, logits, taught, labels)
        optimizers.apply_gradients(self.optimizer, gradients, weights)
        logs |= {"learning_rate": learning_rate}
        if self.worker_flag is not None:
            logs["interrupted"] = self.worker_flag.count()
        return distribution.logs(logs)

    def test_step(self, data):
        images, labels = _unpack(data)
        images = preprocessing.to_float(images)
        taught, logits = (
            _float32(model(images, training=False))
            for model in (self.teacher, self.student)
        )
        loss = sum(self._terms(logits, taught, labels))
        return distribution.logs(self._logs(loss, logits, taught, labels))

    def _views(self, images):
        """One view of each of the replica's images: that of one replica."""
        cropped = len(images.shape) == 5
        if cropped:
            images = images[:, 0]
        if self.augmenter is None:
            return preprocessing.to_float(images)
        rows = images.shape[0] or tf.shape(images)[0]
        return self.augmenter(
            images,
            seed=augment.fold_seed(self.seed, self.optimizer.iterations),
            first_row=distribution.replica_id() * rows,
            num_rows=distribution.num_replicas() * rows,
            cropped=cropped,
        )

    def _terms(self, logits, taught, labels):
        """The terms of the loss, weighted means over this replica's rows."""
        of_teacher = of_labels = tf.zeros([])
        if self.alpha > 0:
            entropies = tf.nn.softmax_cross_entropy_with_logits(
                tf.nn.softmax(taught / self.temperature),
                logits / self.temperature,
            )
            of_teacher = self.alpha * tf.reduce_mean(entropies)
        if self.alpha < 1:
            if labels is None:
                raise ValueError(
                    "`alpha` below 1 needs labels. "
                    f"Received: alpha={self.alpha} and images alone"
                )
            targets, labelled = _targets(labels)
            entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(
                targets, logits
            )
            of_labels = (1 - self.alpha) * tf.reduce_mean(labelled * entropies)
        return of_teacher, of_labels

    def _logs(self, loss, logits, taught, labels):
        """All metrics, updated with these rows."""
        skip = optimizers.scales_loss(getattr(self, "optimizer", None))
        scaled = taught / self.temperature
        entropy = tf.nn.softmax_cross_entropy_with_logits(
            tf.nn.softmax(scaled), scaled
        )
        chosen = tf.argmax(logits, axis=1, output_type=tf.int32)
        agrees = chosen == tf.argmax(taught, axis=1, output_type=tf.int32)
        values = {
            "loss": loss,
            "teacher_entropy": tf.reduce_mean(entropy),
            "teacher_agreement": tf.reduce_mean(tf.cast(agrees, tf.float32)),
        }
        metrics.update(self._trackers, values, skip_overflow=skip)
        trackers = dict(self._trackers)
        if labels is not None:
            targets, labelled = _targets(labels)
            hits = {"top1": tf.cast(chosen == targets, tf.float32)}
            trackers["top1"] = self._top1
            metrics.update(trackers, hits, labelled, skip_overflow=skip)
        return {name: t.result() for name, t in trackers.items()}


def _unpack(data):
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
    if labels is not None:
        labels = tf.cast(labels, tf.int32)
    return distribution.equal_rows(images), labels


def _targets(labels):
    """Class indices [B], and which of them are labels: 1 or 0 [B]."""
    return tf.maximum(labels, 0), tf.cast(labels >= 0, tf.float32)


def _float32(logits):
    return tf.cast(logits, tf.float32)


def _check_numbers(temperature, alpha):
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be greater than 0. "
            f"Received: temperature={temperature}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"`alpha` must be from 0 to 1. Received: alpha={alpha}"
        )


def _check_models(teacher, student):
    shapes = [_output_shape(model) for model in (teacher, student)]
    widths = {shape[-1] for shape in shapes if shape is not None}
    if len(widths) > 1 or any(shape and len(shape) != 2 for shape in shapes):
        raise ValueError(
            "`teacher` and `student` must give logits of the same classes, "
            f"[B, K]. Received: outputs {shapes[0]} and {shapes[1]}"
        )
    own = {id(weight) for weight in student.weights}
    shared = [w.path for w in teacher.weights if id(w) in own]
    if shared:
        raise ValueError(
            "`teacher` must have weights of its own, since it stays as it is. "
            f"Received: a student with the same variable {shared[0]}"
        )


def _output_shape(model):
    """Of a functional model; None where it is not known."""
    return getattr(model, "output_shape", None)
