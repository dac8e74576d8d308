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
_LABELS_PER_CLASS = (5, 10)

# Learning rates of other optimizers are no multiples of LARS's. SGD: between
# lightly's 0.12 and dkobak/simclr-cifar10's 0.03 per 256 images on CIFAR-10;
# Adam: Keras's default.
RATES = {"momentum": 0.06, "adam": 1e-3, "adamw": 1e-3}

# SimCLR, appendices B.5 (fine-tuning) and B.6 (the classifier alone):
# learning rates per 256 images, with Nesterov momentum. SimCLRv2, section 3.1:
# LARS, 0.16 for a batch of 1024.
_FINE_TUNING_RATE, _CLASSIFIER_RATE = 0.05, 0.1
_FINE_TUNING_LARS = {"learning_rate": 0.005, "learning_rate_scaling": "sqrt"}
# Appendix B.5, for 1 % and 10 % of the labels; B.6.
_EPOCHS_FEW, _EPOCHS_MORE, _EPOCHS_CLASSIFIER = 60, 30, 90
_FEW_LABELS = 0.05
# The papers' 1 % are 12,811 images; of a hundred images the same epochs would
# be a few dozen steps.
_FEWEST_STEPS = 500


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
    ("labels_per_class", "label_draws", "optimizer", "weight_decay"),
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
    values,
    given,
    *,
    image_size=None,
    num_examples=None,
    smallest_class=None,
    checkpoint=None,
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
        checkpoint: flag name -> value, of the weights that are taken.

    Returns:
        (the recipe, flag name -> value without any of `given`).
    """
    user = {name: values[name] for name in given}
    checkpoint = checkpoint or {}
    size = user.get(
        "image_size", checkpoint.get("image_size", _native_size(image_size))
    )
    base = recipe(values["dataset"], size)
    chosen = {"image_size": size, "model_dir": _model_dir(values)}
    chosen["labels_per_class"] = [
        k
        for k in _LABELS_PER_CLASS
        if smallest_class is None or k <= smallest_class
    ]
    chosen |= base.settings
    known = collections.ChainMap(user, checkpoint, chosen, values)
    chosen |= _by_size(known["image_size"])
    if num_examples:
        chosen |= _batch(known["train_batch_size"], num_examples)
        if "train_epochs" not in chosen:
            chosen |= _epochs(known["train_batch_size"], num_examples)
    rates = RATES
    if values["train_mode"] == "finetune":
        base = dataclasses.replace(
            base,
            name=f"{base.name}, fine-tuning",
            source="SimCLR, appendix B.5; SimCLRv2, section 3.1, with LARS",
        )
        chosen |= _fine_tuning(known, num_examples)
        rates = RATES | {"momentum": _fine_tuning_rate(known)}
    elif values["train_mode"] == "distill":
        base = dataclasses.replace(
            base,
            name=f"{base.name}, distillation",
            source="SimCLRv2, section 3.1: as pretraining, in half the epochs",
        )
        chosen |= _distilling(known)
    chosen |= _follow_epochs(known, num_examples)
    chosen |= _rate(known, chosen, given, rates)
    chosen |= checkpoint
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


def _model_dir(values):
    dataset = values["dataset"]
    name = dataset.strip("/")
    if data.is_path(dataset):
        name = os.path.basename(os.path.abspath(dataset))
        name = re.sub(r"\.(npz|txt|csv)$", "", name)
    name = re.sub(r"[^\w.-]+", "-", name) or "data"
    if values["train_mode"] != "pretrain":
        name += f"-{values['train_mode']}"
    elif values["mode"] == "eval":
        name += "-eval"
    return os.path.join("runs", name)


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
    # Google's 10 of 100 epochs; a tenth of a shorter run.
    warmup = min(10.0, epochs / 10)
    return {
        "warmup_epochs": 0.0 if known["train_mode"] == "finetune" else warmup,
        "checkpoint_epochs": max(1, int(epochs) // _CHECKPOINTS),
    }


def _fine_tuning(known, num_examples):
    """Papers' settings, and steps enough for the number of labels."""
    chosen = {
        "optimizer": "momentum",
        "weight_decay": 0.0,
        "train_batch_size": min(256, num_examples or 256),
        "label_draws": 1,
        "labels_per_class": [],
        **_FINE_TUNING_LARS,
    }
    user, *others = known.maps
    known = collections.ChainMap(user, chosen, *others)
    if known["fine_tune_after_block"] == 4:
        epochs = _EPOCHS_CLASSIFIER
    elif known["labels_per_class"] or known["label_fraction"] <= _FEW_LABELS:
        epochs = _EPOCHS_FEW
    else:
        epochs = _EPOCHS_MORE
    if num_examples:
        least = _FEWEST_STEPS * known["train_batch_size"] / num_examples
        epochs = max(epochs, math.ceil(least))
    return chosen | {"train_epochs": epochs}


def _distilling(known):
    return {
        "train_epochs": max(1, known["train_epochs"] // 2),
        "labels_per_class": [],
    }


def _fine_tuning_rate(known):
    if known["fine_tune_after_block"] == 4:
        return _CLASSIFIER_RATE
    return _FINE_TUNING_RATE


def _rate(known, chosen, given, rates):
    """Learning rate and scaling, always as a pair that belongs together."""
    if "learning_rate" in given:
        # A rate without its rule is Google's "per 256 images".
        return {"learning_rate_scaling": "linear"}
    rate = rates.get(known["optimizer"], known["learning_rate"])
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
