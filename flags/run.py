"""Run: what to do, where results go, checkpoints, the seed."""

from simclr_keras.flags import definitions

_MODE = definitions.choice(
    "mode",
    "train_then_eval",
    ["train", "eval", "train_then_eval"],
    "Train, evaluate what was trained, or first one and then the other. eval "
    "follows the run in --model_dir, with its settings: it measures each new "
    "checkpoint until training has ended, then the final encoder.",
)
_MODEL_DIR = definitions.path(
    "model_dir",
    None,
    "Directory of this run: checkpoints, metrics, results, exported models. "
    "The same command on an interrupted run goes on where it stopped. By "
    "default runs/ and the name of the data set.",
)
_OVERWRITE = definitions.switch(
    "overwrite",
    False,
    "Delete the run in --model_dir and start anew, each time the command is "
    "given. Files that a run does not write stay. Without it nothing in "
    "--model_dir is deleted, and the same command goes on with the run.",
)
_INIT_FROM = definitions.path(
    "init_from",
    None,
    "Weights to start from: an encoder.keras, the --model_dir of another run "
    "(its newest checkpoint), one checkpoint's folder, or a checkpoint of "
    "google-research/simclr. Weights with equal names and shapes are taken "
    "and the others named; step, optimizer and schedule start anew.",
)
_SEED = definitions.integer(
    "seed",
    0,
    "Seed of the initial weights, the order of images and every "
    "augmentation. Same seed, same result on one device.",
    minimum=0,
    maximum=2**31 - 1,
)
_CHECKPOINT_EPOCHS = definitions.integer(
    "checkpoint_epochs",
    1,
    "Epochs from one checkpoint to the next; the last step always writes one.",
    minimum=1,
)
_CHECKPOINT_STEPS = definitions.integer(
    "checkpoint_steps",
    0,
    "Steps from one checkpoint to the next; 0 counts in epochs instead.",
    minimum=0,
)
_KEEP_CHECKPOINT_MAX = definitions.integer(
    "keep_checkpoint_max",
    5,
    "Newest checkpoints to keep; older ones of this run are deleted.",
    minimum=1,
)
_TRAIN_SUMMARY_STEPS = definitions.integer(
    "train_summary_steps",
    100,
    "Steps from one TensorBoard summary to the next; 0 writes none.",
    minimum=0,
)


def mode():
    """Which of the two halves to run, `(train, evaluate)`."""
    return _MODE.value != "eval", _MODE.value != "train"


def model_dir():
    """Path of the run's directory (known after `resolve`)."""
    return _MODEL_DIR.value


def overwrite():
    """Whether to delete the run in the directory first."""
    return _OVERWRITE.value


def init_from():
    """Path of the weights to start from, or None."""
    return _INIT_FROM.value


def seed():
    """The run's seed."""
    return _SEED.value


def checkpoint_period(steps_per_epoch):
    """Steps from one checkpoint to the next, at least 1."""
    period = _CHECKPOINT_EPOCHS.value * steps_per_epoch
    return _CHECKPOINT_STEPS.value or max(1, period)


def keep_checkpoint_max():
    """How many of the newest checkpoints to keep."""
    return _KEEP_CHECKPOINT_MAX.value


def summary_period():
    """Steps from one TensorBoard summary to the next, or 0 for none."""
    return _TRAIN_SUMMARY_STEPS.value
