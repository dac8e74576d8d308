"""SimCLR's augmentation: one call, one view of each image of a batch.

    aug = augmenter(image_size=96)
    view_1 = aug(images, seed=fold_seed(seed, step, replica, 0))
    view_2 = aug(images, seed=fold_seed(seed, step, replica, 1))

Crop and flip, colour jitter, grayscale, blur and, if asked for, solarise; in
the order and with the numbers of Google's code (tf2/data_util.py of
https://github.com/google-research/simclr), which made the published results.
"""

import keras
import tensorflow as tf

from simclr_keras import augment_layers as layers
from simclr_keras import color_ops
from simclr_keras import seeded_layer
from simclr_keras.crops import host_crop
from simclr_keras.seeded_layer import fold_seed

__all__ = ["Augmenter", "augmenter", "fold_seed", "host_crop"]

# On a CPU, planes of this many pixels and their temporaries stay in the cache.
_CHUNK_PIXELS = 2**15
_PARALLEL_CHUNKS = 32
_PARTS = ("crop", "jitter", "grayscale", "blur", "solarize")


def augmenter(
    image_size,
    strength=1.0,
    blur=True,
    *,
    crop="google",
    brightness="multiplicative",
    blur_sigma="image",
    solarize=0.0,
    flip_probability=0.5,
    jitter_probability=0.8,
    grayscale_probability=0.2,
    blur_probability=0.5,
    seed=None,
    jit_compile=True,
):
    """A layer that turns images into random views, as SimCLR needs them.

    Defaults are the paper's for ImageNet; it has strength=0.5 and blur=False
    for CIFAR-10. For fine-tuning, Google's code crops and flips only:
    blur=False with jitter_probability=0 and grayscale_probability=0.

    Args:
        image_size: int, side S of the views in pixels.
        strength: of the colour jitter, 0 to 1.25. Brightness, contrast and
            saturation change by factors in 1 +- 0.8 strength, hue by up to
            0.2 strength turns of the colour circle.
        blur: whether views are blurred.
        crop: "google", the sampler behind the published results,
            "torchvision", that of the paper's text, or "none", the whole
            image; `crops.sample_boxes` says how they differ.
        brightness: "multiplicative" as SimCLRv2, or "additive" as SimCLR.
        blur_sigma: "image" draws a standard deviation per image, "view" one
            for all images of a call, as Google's code does.
        solarize: probability of inverting values from 0.5 up (BYOL; not part
            of SimCLR).
        flip_probability, jitter_probability, grayscale_probability,
            blur_probability: share of the views that each acts on.
        seed: int for calls without a seed, None for an arbitrary one.
        jit_compile: whether graphs on a CPU have XLA compile the chunks of a
            batch: some seconds once, then twice the speed.

    Returns:
        `Augmenter`.

    Raises:
        ValueError: an argument is out of its range or unknown.
    """
    seeded_layer.check_range("jitter_probability", jitter_probability)
    seeded_layer.check_range("grayscale_probability", grayscale_probability)
    seeded_layer.check_range("blur_probability", blur_probability)
    seeded_layer.check_range("solarize", solarize)
    seeded_layer.check_choice("blur_sigma", blur_sigma, layers.SIGMAS)
    return Augmenter(
        layers.RandomResizedCrop(image_size, crop, flip_probability),
        layers.RandomColorJitter(strength, brightness, jitter_probability),
        layers.RandomGrayscale(grayscale_probability),
        layers.RandomGaussianBlur(blur_probability, blur_sigma)
        if blur
        else None,
        layers.RandomSolarize(solarize) if solarize else None,
        jit_compile,
        seed=seed,
    )


def crop_and_flip(image_size, **views):
    """An `augmenter` for training with labels, which keeps colours.

    Args:
        image_size: int, side S of the views in pixels.
        **views: `crop` and `flip_probability`, as for `augmenter`.
    """
    return augmenter(
        image_size,
        blur=False,
        jitter_probability=0.0,
        grayscale_probability=0.0,
        # A crop alone has nothing that XLA could fuse.
        jit_compile=False,
        **views,
    )


@keras.saving.register_keras_serializable("simclr_keras")
class Augmenter(seeded_layer.SeededLayer):
    """Crop, jitter, grayscale, blur and solarise; see `augmenter`.

    Args:
        crop: `RandomResizedCrop`.
        jitter: `RandomColorJitter`.
        grayscale: `RandomGrayscale`.
        blur: `RandomGaussianBlur`, or None.
        solarize: `RandomSolarize`, or None.
        jit_compile: whether XLA compiles it in graphs on a CPU.
        seed: int for calls without a seed, None for an arbitrary one.

    Call arguments:
        inputs: images [B, H, W, 3] or [H, W, 3], uint8, or float in [0, 1].
        seed: int32 [2], see `fold_seed`: the same seed gives the same view.
            None draws one from the layer's own generator.
        first_row, num_rows: ints or scalar tensors: the images are those from
            number `first_row` on of a batch of `num_rows`, and get the views
            they would have in it. None if they are the batch.
        cropped: whether images are [B, S, S, 3] views from `host_crop`, which
            only lack the colour part.

    Returns:
        One view [B, S, S, 3] (or [S, S, 3]), float32 in [0, 1].
    """

    arguments = (
        "crop",
        "jitter",
        "grayscale",
        "blur",
        "solarize",
        "jit_compile",
    )

    def __init__(
        self,
        crop,
        jitter,
        grayscale,
        blur=None,
        solarize=None,
        jit_compile=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.crop = crop
        self.jitter = jitter
        self.grayscale = grayscale
        self.blur = blur
        self.solarize = solarize
        self.jit_compile = jit_compile
        # One function for all calls, so that XLA compiles it once.
        self._compiled = tf.function(
            super().augment_images, autograph=False, jit_compile=True
        )

    def call(
        self, inputs, seed=None, first_row=0, num_rows=None, cropped=False
    ):
        return super().call(inputs, seed, first_row, num_rows, cropped=cropped)

    def get_random_transformation_batch(
        self, batch_size, images, seed, cropped=False
    ):
        if cropped:
            self._check_cropped(images)
        transformations = {}
        for number, name in enumerate(_PARTS):
            layer = getattr(self, name)
            if layer is None or (cropped and name == "crop"):
                continue
            # The number is that of the part, so that leaving one out does not
            # change what the others draw.
            transformations[name] = layer.get_random_transformation_batch(
                batch_size, images=images, seed=fold_seed(seed, number)
            )
        return transformations

    def augment_images(self, images, transformations, **kwargs):
        """Augments the batch; on a CPU in chunks.

        A chunk fits the cache, chunks run in parallel, and each skips the
        operations that none of its images needs.
        """
        batch_size = images.shape[0] or tf.shape(images)[0]
        augment = super().augment_images
        if _has_accelerator():
            return augment(images, transformations)
        eager = tf.executing_eagerly()
        if self.jit_compile and not eager:
            augment = self._compiled
        size = self.crop.image_size
        chunk = max(1, round(_CHUNK_PIXELS / size**2))
        if isinstance(batch_size, int) and batch_size <= chunk:
            return augment(images, transformations)
        chunks = -(-batch_size // chunk)
        # The last chunk is filled up with the last image.
        rows = tf.minimum(tf.range(chunks * chunk), batch_size - 1)
        views = tf.map_fn(
            lambda rows: augment(
                *tf.nest.map_structure(
                    lambda x: tf.gather(x, rows), (images, transformations)
                )
            ),
            tf.reshape(rows, [chunks, chunk]),
            # TensorFlow warns where it cannot obey.
            parallel_iterations=1 if eager else _PARALLEL_CHUNKS,
            fn_output_signature=tf.TensorSpec(
                [chunk, size, size, 3], tf.float32
            ),
        )
        return tf.reshape(views, [-1, size, size, 3])[:batch_size]

    def augment_planes(self, planes, transformations):
        for name in _PARTS:
            if name in transformations:
                planes = getattr(self, name).augment_planes(
                    planes, transformations[name]
                )
            if name == "grayscale":
                # As Google's code: overshoot of the crop lives up to here.
                planes = color_ops.clip(planes)
        return planes

    def get_config(self):
        config = super().get_config()
        for name in _PARTS:
            config[name] = keras.saving.serialize_keras_object(config[name])
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in _PARTS:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return super().from_config(config)

    def _check_cropped(self, images):
        size = self.crop.image_size
        if not images.shape[1:3].is_compatible_with([size, size]):
            raise ValueError(
                f"`inputs` must be views of {size} x {size} pixels if they are "
                f"`cropped`. Received: shape {images.shape}"
            )


def _has_accelerator():
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
