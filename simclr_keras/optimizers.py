"""LARS, and the optimizers of a run by name."""

import re

import keras
import tensorflow as tf

from simclr_keras import distribution

# Google's `eeta`.
_TRUST_COEFFICIENT = 0.001


@keras.saving.register_keras_serializable("simclr_keras")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling (arXiv:1708.03888), as SimCLR uses it.

    For a weight w with gradient g and slot v

        g <- g + weight_decay * w
        trust <- trust_coefficient * |w| / |g|      (1 if either norm is 0)
        v <- momentum * v + learning_rate * trust * g
        w <- w - v                    (momentum * v + ... again if `nesterov`)

    The learning rate is inside the slot, as in Google's code and the paper;
    `classic_momentum=False` takes it, and the norm of the direction, outside.

    Variables of rank 0 and 1 (biases, batch-norm scales and offsets) are
    neither decayed nor adapted. Google's code excludes by name instead, which
    Keras 3's short variable names would defeat. Its online classifier is
    decayed through a loss term and not adapted; here the name `linear_probe`
    is excluded from adaptation only, which gives the same update.

    Args:
        learning_rate: float or `LearningRateSchedule`.
        momentum: float in [0, 1).
        weight_decay: float >= 0, L2 coefficient added to the gradient.
        nesterov: whether to use Nesterov momentum.
        classic_momentum: see above.
        trust_coefficient: float > 0.
        exclude_vectors: whether variables of rank <= 1 are left out of decay
            and adaptation.
        exclude_from_weight_decay: regular expressions; a variable is not
            decayed if one is found in its `path`.
        exclude_from_layer_adaptation: likewise for the trust ratio. None
            means the same as `exclude_from_weight_decay`.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: if `momentum`, `weight_decay` or `trust_coefficient` is
            out of its range.
    """

    def __init__(
        self,
        learning_rate=0.3,
        momentum=0.9,
        weight_decay=1e-6,
        nesterov=False,
        classic_momentum=True,
        trust_coefficient=_TRUST_COEFFICIENT,
        exclude_vectors=True,
        exclude_from_weight_decay=(),
        exclude_from_layer_adaptation=("linear_probe",),
        name="lars",
        **kwargs,
    ):
        _check_range("momentum", momentum, 0 <= momentum < 1, "in [0, 1)")
        _check_range("weight_decay", weight_decay, weight_decay >= 0, ">= 0")
        _check_range(
            "trust_coefficient", trust_coefficient, trust_coefficient > 0, "> 0"
        )
        # Keras's own `weight_decay` is decoupled from the gradient.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.decay = weight_decay
        self.nesterov = nesterov
        self.classic_momentum = classic_momentum
        self.trust_coefficient = trust_coefficient
        self.exclude_vectors = exclude_vectors
        self.exclude_patterns_decay = tuple(exclude_from_weight_decay or ())
        self.exclude_patterns_adaptation = (
            self.exclude_patterns_decay
            if exclude_from_layer_adaptation is None
            else tuple(exclude_from_layer_adaptation)
        )

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._slots = self.add_optimizer_variables(variables, "momentum")
        # The variables that reach `update_step` are TensorFlow's and know no
        # path, so what applies to which is settled here, by position.
        self._decayed = [
            self._included(v, self.exclude_patterns_decay) for v in variables
        ]
        self._adapted = [
            self._included(v, self.exclude_patterns_adaptation)
            for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        slot = self._slots[index]
        rate = tf.cast(learning_rate, variable.dtype)
        gradient = tf.cast(gradient, variable.dtype)
        if self._decayed[index] and self.decay:
            gradient += self.decay * variable
        if self.classic_momentum:
            step = rate * self._trust(index, variable, gradient) * gradient
            self.assign(slot, self.momentum * slot + step)
            update = self.momentum * slot + step if self.nesterov else slot
        else:
            self.assign(slot, self.momentum * slot + gradient)
            direction = (
                self.momentum * slot + gradient if self.nesterov else slot
            )
            direction = tf.convert_to_tensor(direction)
            update = rate * self._trust(index, variable, direction) * direction
        self.assign_sub(variable, update)

    def _trust(self, index, variable, direction):
        if not self._adapted[index]:
            return tf.ones([], direction.dtype)
        weight_norm, step_norm = tf.norm(variable), tf.norm(direction)
        both = tf.logical_and(weight_norm > 0, step_norm > 0)
        ratio = self.trust_coefficient * tf.math.divide_no_nan(
            weight_norm, step_norm
        )
        return tf.where(both, ratio, 1.0)

    def _included(self, variable, patterns):
        if self.exclude_vectors and len(variable.shape) <= 1:
            return False
        return not any(re.search(p, variable.path) for p in patterns)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.decay,
            "nesterov": self.nesterov,
            "classic_momentum": self.classic_momentum,
            "trust_coefficient": self.trust_coefficient,
            "exclude_vectors": self.exclude_vectors,
            "exclude_from_weight_decay": list(self.exclude_patterns_decay),
            "exclude_from_layer_adaptation": list(
                self.exclude_patterns_adaptation
            ),
        }


def optimizer(name, learning_rate, momentum=0.9, weight_decay=1e-6):
    """The optimizer of a run by the name Google's `--optimizer` gives it.

    Args:
        name: "lars"; "momentum", Nesterov SGD with L2 decay of everything but
            batch norm's scales and offsets, as in Google's code; "adam" or
            "adamw", both with decoupled decay of kernels, since L2 inside
            Adam is undone by its denominator (arXiv:1711.05101).
        learning_rate: float or `LearningRateSchedule`.
        momentum: float in [0, 1), not used by Adam.
        weight_decay: float >= 0.

    Raises:
        ValueError: if `name` is none of these.
    """
    if name == "lars":
        return LARS(learning_rate, momentum, weight_decay)
    if name == "momentum":
        # LARS with a trust ratio of 1 everywhere is SGD with coupled decay,
        # which Keras's own SGD does not have.
        return LARS(
            learning_rate,
            momentum,
            weight_decay,
            nesterov=True,
            exclude_vectors=False,
            exclude_from_weight_decay=("gamma$", "beta$"),
            exclude_from_layer_adaptation=("",),
            name="momentum",
        )
    if name in ("adam", "adamw"):
        adam = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
        adam.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return adam
    raise ValueError(
        '`name` must be one of "lars", "momentum", "adam", "adamw". '
        f"Received: name={name!r}"
    )


def scales_loss(optimizer):
    """Whether it scales losses, as float16 needs it, and skips overflows."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def apply_gradients(optimizer, gradients, weights):
    """One update with gradients that are summed over replicas.

    Args:
        optimizer: built Keras optimizer.
        gradients: list of tensors or None, of this replica, scaled by
            `optimizer.scale_loss`.
        weights: list of variables.
    """
    if scales_loss(optimizer):
        gradients = distribution.spread_overflow(gradients)
    gradients = clip_after_sum(optimizer, gradients)
    optimizer.apply_gradients(zip(gradients, weights, strict=True))


def clip_after_sum(optimizer, gradients):
    """Gradients of one replica, such that the sum over replicas is clipped.

    Keras clips what each replica hands in and adds up afterwards, which is
    another direction and up to as many times as long as there are replicas.

    Args:
        optimizer: Keras optimizer; if it does not clip, nothing is done.
        gradients: list of tensors or None, scaled by `optimizer.scale_loss`.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    clips = inner.clipnorm or inner.global_clipnorm or inner.clipvalue
    replicas = distribution.num_replicas()
    if replicas == 1 or not clips:
        return gradients
    scale = optimizer.scale_loss(1.0)
    clipped = inner._clip_gradients(
        [g if g is None else distribution.total(g) / scale for g in gradients]
    )
    # A share of what is clipped already is too short for Keras to clip again.
    return [g if g is None else g * (scale / replicas) for g in clipped]


def _check_range(name, value, inside, rule):
    if not inside:
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value}")
