"""Recipes: what a data set needs, for the flags that the user did not give.

Small images are where others' defaults fail: the ImageNet stem, blur and full
colour jitter each cost several points on CIFAR-10. A recipe names the settings
of its data set; everything that follows from the image size, the number of
images or another flag is worked out here, so that a recipe and a user's flag
fit each other.
"""

import collections
import dataclasses
import math
import os
import re

from simclr_keras.flags import data

_SMALL = 32  # Google's code switches to the CIFAR stem up to this size.
_SMALLEST, _LARGEST = 8, 224
_FEW_EPOCHS, _MANY_EPOCHS = 20, 1000
_ENOUGH_STEPS = 2000
_CHECKPOINTS = 20

# Learning rates of other optimizers are no multiples of LARS's. SGD: between
# lightly's 0.12 and dkobak/simclr-cifar10's 0.03 per 256 images on CIFAR-10;
# Adam: Keras's default.
RATES = {"momentum": 0.06, "adam": 1e-3, "adamw": 1e-3}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of a data set: flag name -> value, and where they are from."""

    name: str
    source: str
    settings: dict


_CIFAR = {
    "image_size": 32,
    "resnet_depth": 18,
    "train_batch_size": 512,
    "train_epochs": 200,
    "learning_rate": 1.0,
    "weight_decay": 1e-4,
    "temperature": 0.5,
}
_SQUARE_ROOT = {
    "learning_rate": 0.075,
    "learning_rate_scaling": "sqrt",
    "weight_decay": 1e-4,
}

_IMAGENET = {"train_epochs": 100, **_SQUARE_ROOT}

RECIPES = {
    "digits": Recipe(
        "digits",
        "about four minutes on two CPU cores",
        {
            "image_size": 16,
            "resnet_depth": 18,
            "width_multiplier": 0.25,
            "train_batch_size": 256,
            "train_epochs": 80,
            "learning_rate": 1.5,
            "weight_decay": 1e-4,
            "temperature": 0.2,
            "num_proj_layers": 2,
            "proj_out_dim": 64,
            # A mirrored 2 is no 2.
            "flip_probability": 0.0,
            # Of the 144 training images of a class.
            "knn_k": 20,
        },
    ),
    "cifar10": Recipe(
        "cifar10",
        "Google's README with 200 of its 1000 epochs, which reach about 91 %",
        _CIFAR,
    ),
    "cifar100": Recipe("cifar100", "as cifar10", _CIFAR),
    "stl10": Recipe(
        "stl10",
        "ResNet-18, head 512-64; square-root scaling of SimCLR, appendix B.1",
        {
            "image_size": 96,
            "resnet_depth": 18,
            "train_batch_size": 256,
            "train_epochs": 100,
            **_SQUARE_ROOT,
            "num_proj_layers": 2,
            "proj_out_dim": 64,
        },
    ),
    "imagenet2012": Recipe(
        "imagenet2012",
        "Google's README and flags, batch 512",
        _IMAGENET,
    ),
    "imagenet2012_subset": Recipe(
        "imagenet2012_subset", "as imagenet2012", _IMAGENET
    ),
}
SMALL = Recipe(
    "small images",
    f"up to {_SMALL} pixels: ResNet-18 at quarter width, for a CPU",
    {
        "resnet_depth": 18,
        "width_multiplier": 0.25,
        "train_batch_size": 256,
        "learning_rate": 1.0,
        "weight_decay": 1e-4,
        "temperature": 0.2,
        "num_proj_layers": 2,
        "proj_out_dim": 64,
    },
)
LARGE = Recipe(
    "large images",
    f"above {_SMALL} pixels: ResNet-18, SimCLR's ImageNet settings",
    {"resnet_depth": 18, "train_batch_size": 256, **_SQUARE_ROOT},
)

# Flags that every recipe, or some, sets when the user does not.
FILLED = frozenset().union(
    *(known.settings for known in (*RECIPES.values(), SMALL, LARGE)),
    ("stem", "use_blur", "color_jitter_strength", "model_dir"),
    ("warmup_epochs", "checkpoint_epochs", "learning_rate_scaling"),
    ("labels_per_class",),
)


def recipe(dataset, image_size):
    """The recipe of a data set, or of its image size if it is not known.

    Args:
        dataset: value of `--dataset`.
        image_size: int, height and width of the encoder's input.
    """
    name = re.split("[/:]", dataset)[0]
    if name in RECIPES:
        return RECIPES[name]
    return SMALL if image_size <= _SMALL else LARGE


def settings(
    values, given, *, image_size=None, num_examples=None, smallest_class=None
):
    """Values for the flags that are not given.

    Args:
        values: name -> value of every flag.
        given: names of the flags whose value is the user's.
        image_size: int, height and width of the data's images in pixels, or
            what is typical of them; None if not known.
        num_examples: int, number of training images; None if not known.
        smallest_class: int, labelled training images of the rarest class;
            None if not known.

    Returns:
        (the recipe, flag name -> value without any of `given`).
    """
    user = {name: values[name] for name in given}
    size = user.get("image_size", _native_size(image_size))
    base = recipe(values["dataset"], size)
    chosen = {"image_size": size, "model_dir": _model_dir(values["dataset"])}
    chosen |= base.settings
    known = collections.ChainMap(user, chosen, values)
    chosen |= _by_size(known["image_size"])
    if num_examples:
        chosen |= _batch(known["train_batch_size"], num_examples)
        if "train_epochs" not in chosen:
            chosen |= _epochs(known["train_batch_size"], num_examples)
    chosen |= _follow_epochs(known, num_examples)
    chosen |= _rate(known, chosen, given)
    sizes = values["labels_per_class"]
    if smallest_class is not None and max(sizes, default=0) > smallest_class:
        chosen["labels_per_class"] = [k for k in sizes if k <= smallest_class]
    return base, {
        name: value for name, value in chosen.items() if name not in given
    }


def _native_size(image_size):
    """Up to 224; above 32 a multiple of 32, which encoders halve evenly."""
    if image_size is None:
        return _LARGEST
    if image_size <= _SMALL:
        return max(_SMALLEST, image_size)
    return min(_LARGEST, image_size // 32 * 32)


def _model_dir(dataset):
    name = dataset.strip("/")
    if data.is_path(dataset):
        name = os.path.basename(os.path.abspath(dataset))
        name = re.sub(r"\.(npz|txt|csv)$", "", name)
    return os.path.join("runs", re.sub(r"[^\w.-]+", "-", name) or "data")


def _by_size(image_size):
    small = image_size <= _SMALL
    return {
        "stem": "cifar" if small else "imagenet",
        "use_blur": not small,
        "color_jitter_strength": 0.5 if small else 1.0,
    }


def _batch(batch_size, num_examples):
    if batch_size > num_examples >= 2:
        batch_size = 2 ** int(math.log2(num_examples))
    return {"train_batch_size": batch_size}


def _epochs(batch_size, num_examples):
    steps_per_epoch = max(1, num_examples // batch_size)
    epochs = math.ceil(_ENOUGH_STEPS / steps_per_epoch)
    return {"train_epochs": min(max(epochs, _FEW_EPOCHS), _MANY_EPOCHS)}


def _follow_epochs(known, num_examples):
    epochs = known["train_epochs"]
    if known["train_steps"] and num_examples:
        seen = known["train_steps"] * known["train_batch_size"]
        epochs = seen / num_examples
    return {
        # Google's 10 of 100 epochs; a tenth of a shorter run.
        "warmup_epochs": min(10.0, epochs / 10),
        "checkpoint_epochs": max(1, int(epochs) // _CHECKPOINTS),
    }


def _rate(known, chosen, given):
    """Learning rate and scaling, always as a pair that belongs together."""
    if "learning_rate" in given:
        # A rate without its rule is Google's "per 256 images".
        return {"learning_rate_scaling": "linear"}
    rate = RATES.get(known["optimizer"], known["learning_rate"])
    meant = chosen.get("learning_rate_scaling", "linear")
    if known["optimizer"] in RATES:
        meant = "linear"
    if "learning_rate_scaling" in given:
        rate *= _peak(known, meant) / _peak(
            known, known["learning_rate_scaling"]
        )
        meant = known["learning_rate_scaling"]
    return {"learning_rate": rate, "learning_rate_scaling": meant}


def _peak(known, scaling):
    """Peak of a learning rate of 1 at the batch size of the run."""
    batch_size = known["train_batch_size"]
    return batch_size / 256 if scaling == "linear" else math.sqrt(batch_size)
