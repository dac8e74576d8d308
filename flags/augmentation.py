"""Augmentation: how the two views of an image are made."""

from simclr_keras.flags import data
from simclr_keras.flags import definitions
from simclr_keras.flags import optimization
from simclr_keras.flags import run

_COLOR_JITTER_STRENGTH = definitions.number(
    "color_jitter_strength",
    1.0,
    "Strength s of the colour jitter: brightness, contrast and saturation "
    "within 1 +- 0.8 s, hue within +- 0.2 s; 0 turns it off. Paper: 1 for "
    "ImageNet, 0.5 for CIFAR-10.",
    minimum=0,
    maximum=1.25,
)
_USE_BLUR = definitions.switch(
    "use_blur",
    True,
    "Blur half of the views with a Gaussian kernel of a tenth of the image "
    "size. Paper: on for ImageNet, off for CIFAR-10.",
)
_CROP = definitions.choice(
    "crop",
    "google",
    ["google", "torchvision", "none"],
    "Sampler of the random crop. google: TensorFlow's, behind all published "
    "SimCLR results. torchvision: area 8 to 100 %, log-uniform aspect "
    "ratio, as most PyTorch code. none: the whole image, to see what crops "
    "are good for.",
)
_FLIP_PROBABILITY = definitions.number(
    "flip_probability",
    0.5,
    "Share of views mirrored left to right. Paper: 0.5; 0 where a mirror "
    "image means something else, as with digits and text.",
    minimum=0,
    maximum=1,
)
_GRAYSCALE_PROBABILITY = definitions.number(
    "grayscale_probability",
    0.2,
    "Share of views whose colours are dropped. Paper: 0.2; 0 and "
    "--color_jitter_strength=0 leave all colours as they are.",
    minimum=0,
    maximum=1,
)
_BRIGHTNESS = definitions.choice(
    "brightness",
    "multiplicative",
    ["multiplicative", "additive"],
    "How the jitter changes brightness: by a factor (SimCLRv2) or by an "
    "offset (SimCLR of 2020).",
)
_BLUR_SIGMA = definitions.choice(
    "blur_sigma",
    "image",
    ["image", "view"],
    "Draw the blur's standard deviation, 0.1 to 2 pixels, for each image or, "
    "as Google's code, once for all images of a view.",
)
_SOLARIZE = definitions.number(
    "solarize",
    0.0,
    "Share of views whose bright pixels are inverted. Not part of SimCLR.",
    minimum=0,
    maximum=1,
)


def augmenter():
    """Arguments of `simclr_keras.augmenter`."""
    return {
        "image_size": data.image_size(),
        "strength": _COLOR_JITTER_STRENGTH.value,
        "blur": _USE_BLUR.value,
        "crop": _CROP.value,
        "brightness": _BRIGHTNESS.value,
        "blur_sigma": _BLUR_SIGMA.value,
        "solarize": _SOLARIZE.value,
        "flip_probability": _FLIP_PROBABILITY.value,
        "grayscale_probability": _GRAYSCALE_PROBABILITY.value,
    }


def geometry():
    """Arguments of whatever crops and mirrors images."""
    return {
        "crop": _CROP.value,
        "flip_probability": _FLIP_PROBABILITY.value,
    }


def pipeline():
    """Arguments of `simclr_keras.data.pipelines.pretraining`, from flags."""
    return {
        "batch_size": optimization.train_batch_size(),
        "image_size": data.image_size(),
        "seed": run.seed(),
        **geometry(),
    }
