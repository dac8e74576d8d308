"""keras-cv's extension base, made reproducible and exact; and its seeds."""

import numbers
import operator
import random

import keras
import keras_cv
import tensorflow as tf

from simclr_keras import color_ops

# Named, so that all devices draw the same: TPUs have another default.
_ALGORITHM = "philox"


def fold_seed(seed, *integers):
    """An int32 [2] seed made from `seed` and each of `integers` in turn.

    The same arguments give the same seed on every device and in every process,
    different ones independent streams of random numbers.

    Args:
        seed: int, or an integer tensor of shape [] or [2].
        *integers: ints or scalar integer tensors, such as step, replica and
            view. They count modulo 2**32.

    Raises:
        ValueError: an argument is not an integer, or has another shape.
    """
    seed = _seed(seed)
    for integer in integers:
        if isinstance(integer, numbers.Integral):
            integer = _low_word(integer)
        integer = _integer_tensor("integers", integer, ([],))
        word = tf.random.stateless_uniform(
            [], seed, None, None, tf.int32, alg=_ALGORITHM
        )
        seed = tf.stack([word, tf.cast(integer, tf.int32)])
    return seed


def uniform(seed, shape):
    """float32 in [0, 1), stateless, the same on every device and under XLA."""
    # TensorFlow and XLA agree on the bits, but not on which make a float.
    bits = tf.random.stateless_uniform(
        shape, seed, None, None, tf.int32, alg=_ALGORITHM
    )
    mantissa = tf.bitwise.bitwise_and(bits, 2**23 - 1)
    return tf.cast(mantissa, tf.float32) * 2.0**-23


class SeededLayer(keras_cv.layers.VectorizedBaseImageAugmentationLayer):
    """keras-cv's vectorised base with explicit seeds, in float32.

    Subclasses draw in `get_random_transformation_batch(batch_size, images,
    seed)`, compute in `augment_planes(planes, transformations)` on planes as
    in `color_ops`, and name their constructor's arguments in `arguments`.

    Args:
        seed: int for the layer's own generator, which serves calls without a
            seed. None takes one from Python's `random`, so that
            `keras.utils.set_random_seed` decides.

    Call arguments:
        inputs: [B, H, W, 3] or [H, W, 3], uint8, or float in [0, 1]; or a dict
            with these as "images", whose other entries pass untouched.
        seed: int32 [2]; the same seed gives the same result.
        first_row, num_rows: ints or scalar tensors: the images are those from
            number `first_row` on of a batch of `num_rows`, and are changed as
            they would be in it. None if they are the batch.
    """

    arguments = ()

    def __init__(self, seed=None, **kwargs):
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", "float32"))
        if dtype.name != "float32":
            raise ValueError(
                "`dtype` must be float32, in which views are exact under any "
                f"global policy. Received: {dtype.name}"
            )
        # Without a seed, or with 0, the base would take a global generator
        # that no seed reaches and that deterministic mode refuses.
        super().__init__(seed=1, dtype=dtype, **kwargs)
        self.seed = seed
        self._random_generator = tf.random.Generator.from_seed(
            random.getrandbits(62) if seed is None else seed, alg=_ALGORITHM
        )

    def build(self, input_shape):
        """Nothing to make; Keras warns where layers in layers lack this."""

    def call(self, inputs, seed=None, first_row=0, num_rows=None, **options):
        rows = first_row, num_rows
        if not isinstance(inputs, dict):
            return self._augment(inputs, seed, rows, options)
        moved = {"bounding_boxes", "keypoints", "segmentation_masks"}
        if moved & inputs.keys():
            raise ValueError(
                "`inputs` must hold nothing that a crop would move, only "
                f"images are augmented. Received: {', '.join(sorted(inputs))}"
            )
        images = self._augment(inputs["images"], seed, rows, options)
        return {**inputs, "images": images}

    def _augment(self, images, seed, rows, options):
        if isinstance(images, tf.RaggedTensor):
            raise ValueError(
                "`images` must have one size: crop them one by one with "
                f"`host_crop`. Received: a ragged tensor {images.shape}"
            )
        images = tf.convert_to_tensor(images)
        check_images("images", images, (3, 4))
        if seed is None:
            seed = self._random_generator.make_seeds(1)[:, 0]
        seed = _integer_tensor("seed", seed, ([2],))
        single = images.shape.rank == 3
        if single:
            images = images[None]
        batch_size = images.shape[0] or tf.shape(images)[0]
        first_row, num_rows = rows
        transformations = self.get_random_transformation_batch(
            batch_size if num_rows is None else num_rows,
            images=images,
            seed=tf.cast(seed, tf.int32),
            **options,
        )
        if num_rows is not None:
            transformations = tf.nest.map_structure(
                lambda x: _rows(x, first_row, batch_size), transformations
            )
        images = self.augment_images(images, transformations)
        return images[0] if single else images

    def augment_images(self, images, transformations, **kwargs):
        planes = color_ops.to_planes(images)
        planes = self.augment_planes(planes, transformations)
        return color_ops.from_planes(planes)

    def get_config(self):
        own = {name: getattr(self, name) for name in self.arguments}
        return {**super().get_config(), "seed": self.seed, **own}


def _rows(x, first, count):
    others = x.shape[1:]
    rows = tf.slice(x, [first, *[0] * len(others)], [count, *others])
    # A count that is a tensor makes it forget the other dimensions.
    static = count if isinstance(count, int) else None
    return tf.ensure_shape(rows, [static, *others])


def check_images(name, images, ranks):
    """Refuses all but RGB in uint8 or float, of one of `ranks`."""
    if images.shape.rank not in ranks or images.shape[-1] != 3:
        shapes = {3: "[H, W, 3]", 4: "[B, H, W, 3]"}
        raise ValueError(
            f"`{name}` must be RGB, {' or '.join(shapes[r] for r in ranks)}. "
            f"Received: shape {images.shape}"
        )
    if images.dtype != tf.uint8 and not images.dtype.is_floating:
        raise ValueError(
            f"`{name}` must be uint8, or float in [0, 1]. "
            f"Received: dtype {images.dtype.name}"
        )


def check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}"
        )


def check_range(name, value, low=0.0, high=1.0):
    if not isinstance(value, numbers.Real) or not low <= value <= high:
        raise ValueError(
            f"`{name}` must be from {low:g} to {high:g}. Received: {value!r}"
        )


def check_size(name, value):
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive int, in pixels. Received: {value!r}"
        )


def _seed(seed):
    if isinstance(seed, numbers.Integral):
        seed = operator.index(seed)
        return tf.constant([_low_word(seed), _low_word(seed >> 32)])
    seed = _integer_tensor("seed", seed, ([], [2]))
    if seed.shape.rank == 0:
        return tf.bitcast(tf.cast(seed, tf.int64), tf.int32)
    return tf.cast(seed, tf.int32)


def _low_word(integer):
    """The low 32 bits as TensorFlow's signed integer."""
    return (operator.index(integer) + 2**31) % 2**32 - 2**31


def _integer_tensor(name, value, shapes):
    value = tf.convert_to_tensor(value)
    if not value.dtype.is_integer or not any(
        value.shape.is_compatible_with(shape) for shape in shapes
    ):
        raise ValueError(
            f"`{name}` must be integers of shape "
            f"{' or '.join(map(str, shapes))}. "
            f"Received: {value.dtype.name} of shape {value.shape}"
        )
    return value
