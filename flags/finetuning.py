"""Fine-tuning: what is trained with labels, and from which weights."""

from simclr_keras.flags import augmentation
from simclr_keras.flags import definitions
from simclr_keras.flags import evaluation
from simclr_keras.flags import model
from simclr_keras.flags import optimization

_TRAIN_MODE = definitions.choice(
    "train_mode",
    "pretrain",
    ["pretrain", "finetune", "distill"],
    "pretrain: contrastive, without labels. finetune: with labels, from "
    "--checkpoint; without one, supervised from scratch. distill: a student "
    "of --resnet_depth and --width_multiplier, taught by the classifier of "
    "--checkpoint on all images, without labels.",
)
_CHECKPOINT = definitions.path(
    "checkpoint",
    None,
    "Trained weights to fine-tune, or with --mode=eval to measure: the "
    "--model_dir of another run (its encoder.keras, else its newest "
    "checkpoint), an encoder.keras, one checkpoint's folder, or a checkpoint "
    "of google-research/simclr. Architecture and image size are those of the "
    "checkpoint; its classifier, which may have seen all labels, is never "
    "taken. --init_from starts pretraining from other weights. With "
    "--train_mode=distill the classifier that teaches: the --model_dir of a "
    "fine-tuned run, or another Keras file, SavedModel or checkpoint of "
    "google-research/simclr that gives logits or probabilities.",
)
_LABEL_FRACTION = definitions.number(
    "label_fraction",
    1.0,
    "Share of the labelled images of each class to fine-tune on, drawn by "
    "--seed. Those of a smaller share are among those of a larger one. "
    "--labels_per_class states a number instead. Papers: 0.01, 0.1, 1.",
    above=0,
    maximum=1,
)
_FINE_TUNE_AFTER_BLOCK = definitions.integer(
    "fine_tune_after_block",
    -1,
    "Fine-tune what comes after this block of the encoder: -1 everything, 0 "
    "all but the stem, 1 to 3 the later blocks, 4 only the classifier and "
    "the layers of the head before it. What is frozen stays bit-identical, "
    "batch norm's statistics included.",
    minimum=-1,
    maximum=4,
)
_ZERO_INIT_LOGITS_LAYER = definitions.switch(
    "zero_init_logits_layer",
    False,
    "Start the classifier of fine-tuning at zero.",
)
_VARIABLE_SCHEMA = definitions.pattern(
    "variable_schema",
    None,
    "Variables to take from --checkpoint: those whose names match from their "
    "beginning on, such as base_model/stem_conv/kernel of the encoder and "
    "head_contrastive/projection1_dense/kernel of the head. The others start "
    "anew. Unset takes all.",
)


def train_mode():
    """What kind of training the run is, a value of `--train_mode`."""
    return _TRAIN_MODE.value


def checkpoint():
    """Path of the trained weights, or None."""
    return _CHECKPOINT.value


def variable_schema():
    """Regular expression of the variables to take, or None for all."""
    return _VARIABLE_SCHEMA.value


def labels():
    """How many labels to train on, as `evaluation.finetune.run` takes it."""
    sizes, fraction = evaluation.labels_per_class(), _LABEL_FRACTION.value
    return {
        "labels_per_class": sizes[0] if sizes else None,
        "label_fraction": fraction if fraction < 1 else None,
    }


def fine_tuned():
    """Arguments of `evaluation.finetune.fine_tuned`, from flags."""
    return {
        "ft_proj_selector": model.simclr()["ft_proj_selector"],
        "fine_tune_after_block": _FINE_TUNE_AFTER_BLOCK.value,
        "zero_init_logits_layer": _ZERO_INIT_LOGITS_LAYER.value,
        **optimization.training(),
        **augmentation.geometry(),
    }
