"""The parts of SimCLR's augmentation, as layers on keras-cv's extension base.

keras-cv's own layers compute something else (one order of the jitter for all,
half the hue, clipped boxes, corner-aligned bilinear crops that XLA cannot
compile, loops over single images), so only their base class is used. These
layers draw parameters per image and, as keras-cv's, augment at every call.
"""

import keras
import tensorflow as tf

from simclr_keras import color_ops
from simclr_keras import crops
from simclr_keras import seeded_layer as seeded

_BRIGHTNESS = ("multiplicative", "additive")
SIGMAS = ("image", "view")
_SIGMA_RANGE = (0.1, 2.0)  # SimCLR, appendix A
# Above it the smallest contrast and saturation factors would be negative.
_MAX_STRENGTH = 1.25
_NUM_OPS = 4


@keras.saving.register_keras_serializable("simclr_keras")
class RandomResizedCrop(seeded.SeededLayer):
    """A random box, mirrored or not, resized to [B, S, S, 3] float32.

    Bicubic overshoot is not clipped. See `crops.sample_boxes` for `crop` and
    `crops.crop_and_resize` for the resampling.
    """

    arguments = ("image_size", "crop", "flip_probability")

    def __init__(
        self, image_size, crop="google", flip_probability=0.5, **kwargs
    ):
        seeded.check_size("image_size", image_size)
        seeded.check_choice("crop", crop, crops.SAMPLERS)
        seeded.check_range("flip_probability", flip_probability)
        super().__init__(**kwargs)
        self.image_size = image_size
        self.crop = crop
        self.flip_probability = flip_probability

    def get_random_transformation_batch(self, batch_size, images, seed):
        height, width = tf.unstack(tf.shape(images)[1:3])
        boxes, flips = crops.sample_boxes(
            seed,
            batch_size,
            height,
            width,
            crop=self.crop,
            flip_probability=self.flip_probability,
        )
        return {"boxes": boxes, "flips": flips}

    def augment_planes(self, planes, transformations):
        return crops.crop_planes(
            planes,
            transformations["boxes"],
            (self.image_size, self.image_size),
            transformations["flips"],
        )


@keras.saving.register_keras_serializable("simclr_keras")
class RandomColorJitter(seeded.SeededLayer):
    """Brightness, contrast, saturation and hue, each image in its own order.

    With s the strength, as in SimCLR's appendix A: factors of brightness,
    contrast and saturation uniform in 1 +- 0.8 s, hue turned by up to 0.2 s
    of a circle. As in Google's code brightness is multiplied by default
    (SimCLRv2), "additive" adds U(-0.8 s, 0.8 s) as the first SimCLR did, and
    values are clipped to [0, 1] after every operation.

    `transformations` are, per image: `jittered`, bool [B]; `positions`, int32
    [B, 4], when brightness, contrast, saturation and hue take place; and the
    amounts `brightness`, `contrast`, `saturation` and `hue`, float32 [B].
    """

    arguments = ("strength", "brightness", "probability")

    def __init__(
        self,
        strength=1.0,
        brightness="multiplicative",
        probability=0.8,
        **kwargs,
    ):
        seeded.check_range("strength", strength, 0.0, _MAX_STRENGTH)
        seeded.check_choice("brightness", brightness, _BRIGHTNESS)
        seeded.check_range("probability", probability)
        super().__init__(**kwargs)
        self.strength = strength
        self.brightness = brightness
        self.probability = probability

    def get_random_transformation_batch(self, batch_size, images, seed):
        draws = seeded.uniform(seed, [batch_size, 9])
        amounts = 0.8 * self.strength * (2.0 * draws[:, 4:7] - 1.0)
        multiplicative = self.brightness == "multiplicative"
        return {
            "jittered": draws[:, 8] < self.probability,
            # The order of independent draws is a uniform permutation.
            "positions": tf.argsort(draws[:, :4]),
            "brightness": amounts[:, 0] + float(multiplicative),
            "contrast": 1.0 + amounts[:, 1],
            "saturation": 1.0 + amounts[:, 2],
            "hue": 0.2 * self.strength * (2.0 * draws[:, 7] - 1.0),
        }

    def augment_planes(self, planes, transformations):
        steps = self._steps(transformations)

        def one_step(position, planes):
            step = {name: x[position] for name, x in steps.items()}
            return position + 1, _jitter_step(planes, step)

        def all_steps(planes):
            # A loop, so that XLA compiles one step and not four.
            return tf.while_loop(
                lambda position, planes: position < _NUM_OPS,
                one_step,
                (0, planes),
                maximum_iterations=_NUM_OPS,
            )[1]

        return color_ops.apply_where(
            transformations["jittered"], all_steps, planes
        )

    def _steps(self, t):
        """What each image has at each position, all [4, B]."""
        now = tf.equal(t["positions"], tf.range(_NUM_OPS)[:, None, None])
        brighten, contrast, saturate, rotate = tf.unstack(now, axis=2)
        scales = tf.where(contrast, t["contrast"], 1.0)
        shifts = tf.zeros_like(scales)
        if self.brightness == "additive":
            shifts = tf.where(brighten, t["brightness"], 0.0)
        else:
            scales = tf.where(brighten, t["brightness"], scales)
        return {
            "affine": brighten | contrast,
            "scales": scales,
            "mean_shares": tf.where(contrast, 1.0 - t["contrast"], 0.0),
            "shifts": shifts,
            "saturate": saturate,
            "factors": tf.where(saturate, t["saturation"], 1.0),
            "rotate": rotate,
            "turns": tf.where(rotate, t["hue"], 0.0),
        }


def _jitter_step(planes, step):
    """Each image's one operation of this step, and the clip after it.

    All operations are offered to all images, with amounts that change no bit
    of an image whose turn it is not.
    """
    planes = color_ops.run_if_any(
        step["affine"],
        lambda x: color_ops.affine(
            x, step["scales"], step["mean_shares"], step["shifts"]
        ),
        planes,
    )
    planes = color_ops.run_if_any(
        step["saturate"],
        lambda x: color_ops.saturate(
            x, step["factors"], tf.cast(step["saturate"], tf.float32)
        ),
        planes,
    )
    planes = color_ops.apply_where(
        step["rotate"],
        lambda x: color_ops.rotate_hue(x, step["turns"]),
        planes,
    )
    return color_ops.clip(planes)


@keras.saving.register_keras_serializable("simclr_keras")
class RandomGrayscale(seeded.SeededLayer):
    """Luma in three equal channels, for a share `probability` of images."""

    arguments = ("probability",)

    def __init__(self, probability=0.2, **kwargs):
        seeded.check_range("probability", probability)
        super().__init__(**kwargs)
        self.probability = probability

    def get_random_transformation_batch(self, batch_size, images, seed):
        return {"gray": seeded.uniform(seed, [batch_size]) < self.probability}

    def augment_planes(self, planes, transformations):
        return color_ops.apply_where(
            transformations["gray"],
            lambda x: tf.concat([color_ops.luma(x)] * 3, 0),
            planes,
        )


@keras.saving.register_keras_serializable("simclr_keras")
class RandomGaussianBlur(seeded.SeededLayer):
    """Blur with a kernel of a tenth of the height, clipped to [0, 1].

    The standard deviation is uniform in 0.1 to 2 pixels: one for each image
    (sigma="image"), or one for all images of a call as in Google's code
    (sigma="view"). See `color_ops.gaussian_blur`.
    """

    arguments = ("probability", "sigma")

    def __init__(self, probability=0.5, sigma="image", **kwargs):
        seeded.check_range("probability", probability)
        seeded.check_choice("sigma", sigma, SIGMAS)
        super().__init__(**kwargs)
        self.probability = probability
        self.sigma = sigma

    def get_random_transformation_batch(self, batch_size, images, seed):
        draws = seeded.uniform(seed, [batch_size, 2])
        sigmas = draws[:, 0] if self.sigma == "image" else draws[:1, 0]
        low, high = _SIGMA_RANGE
        return {
            "blurred": draws[:, 1] < self.probability,
            "sigmas": tf.broadcast_to(
                low + (high - low) * sigmas, [batch_size]
            ),
        }

    def augment_planes(self, planes, transformations):
        height = planes.shape[2]
        if height is None:
            raise ValueError(
                "`images` must have a static height, on which the kernel "
                f"depends. Received: planes {planes.shape}"
            )
        return color_ops.apply_where(
            transformations["blurred"],
            lambda x: color_ops.clip(
                color_ops.blur(x, transformations["sigmas"], height // 10)
            ),
            planes,
        )


@keras.saving.register_keras_serializable("simclr_keras")
class RandomSolarize(seeded.SeededLayer):
    """Values from `threshold` up inverted, for a share of the images."""

    arguments = ("probability", "threshold")

    def __init__(self, probability=0.2, threshold=0.5, **kwargs):
        seeded.check_range("probability", probability)
        seeded.check_range("threshold", threshold)
        super().__init__(**kwargs)
        self.probability = probability
        self.threshold = threshold

    def get_random_transformation_batch(self, batch_size, images, seed):
        return {
            "solarized": seeded.uniform(seed, [batch_size]) < self.probability
        }

    def augment_planes(self, planes, transformations):
        return color_ops.apply_where(
            transformations["solarized"],
            lambda x: color_ops.invert_above(x, self.threshold),
            planes,
        )
