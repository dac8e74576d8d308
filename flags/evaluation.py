"""Evaluation: what is measured, during training and after it."""

from simclr_keras.flags import data
from simclr_keras.flags import definitions
from simclr_keras.flags import run

_LINEAREVAL_WHILE_PRETRAINING = definitions.switch(
    "lineareval_while_pretraining",
    True,
    "Train a linear classifier beside the encoder, where there are labels, "
    "and show its accuracy. It has no influence on the encoder.",
)
_EVAL_EVERY = definitions.integer(
    "eval_every",
    0,
    "Epochs of pretraining from one evaluation of the frozen encoder to the "
    "next, and one at its end; 0 never. kNN and a linear probe, on a fifth of "
    "at most 10,000 labelled training images by means of the others, chosen "
    "by --seed; no test image is read. The encoder that is best by kNN is kept "
    "as best_encoder.keras. It has no influence on training.",
    minimum=0,
)
_EVAL_PATIENCE = definitions.integer(
    "eval_patience",
    60,
    "Minutes that --mode=eval waits for a training that shows no sign of "
    "life: no checkpoint and no line of metrics.jsonl.",
    minimum=1,
)
_EVALUATIONS = definitions.choices(
    "evaluations",
    ["linear_probe", "knn"],
    ["linear_probe", "knn"],
    "What is measured on the frozen encoder after training, each beside raw "
    "pixels and a random encoder. --mode=train measures nothing.",
)
_LABELS_PER_CLASS = definitions.integers(
    "labels_per_class",
    None,
    "Numbers of labelled images per class on which the linear probe is fitted "
    "besides all of them, by default 5 and 10; empty for none. With "
    "--train_mode=finetune the one number of labelled images per class to "
    "train on, by default all.",
    minimum=1,
)
_LABEL_DRAWS = definitions.integer(
    "label_draws",
    5,
    "Random draws of these labelled images; mean and spread over them are "
    "reported. With --train_mode=finetune as many fits, of which the first "
    "is the run and is exported; 1 if not given.",
    minimum=1,
)
_KNN_K = definitions.integer(
    "knn_k",
    200,
    "Nearest training images that vote in kNN; at most all of them vote.",
    minimum=1,
)
_KNN_TEMPERATURE = definitions.number(
    "knn_temperature",
    0.1,
    "Temperature of the votes: weight exp(cosine similarity / temperature).",
    above=0,
)
_EVAL_BATCH_SIZE = definitions.integer(
    "eval_batch_size",
    256,
    "Images per step in evaluation; no influence on results.",
    minimum=1,
)
_EVAL_STEPS = definitions.integer(
    "eval_steps",
    0,
    "Batches of --eval_split to evaluate on; 0 takes all of it.",
    minimum=0,
)
_EVAL_NAME = definitions.text(
    "eval_name", None, "Name of the evaluation; Google's TF1 code used it."
)


def lineareval_while_pretraining():
    """Whether to train an online probe where there are labels."""
    return _LINEAREVAL_WHILE_PRETRAINING.value


def every():
    """Epochs from one evaluation while pretraining to the next; 0: never."""
    return _EVAL_EVERY.value


def held_out():
    """Arguments of `evaluation.held_out.run`, from flags."""
    return {
        "k": _KNN_K.value,
        "temperature": _KNN_TEMPERATURE.value,
        "seed": run.seed(),
    }


def patience():
    """Seconds that --mode=eval waits without a sign of the training."""
    return 60.0 * _EVAL_PATIENCE.value


def labels_per_class():
    """Numbers of labelled images per class (known after `resolve`)."""
    return list(_LABELS_PER_CLASS.value or ())


def label_draws():
    """How many random draws of labelled images."""
    return _LABEL_DRAWS.value


def compare():
    """Arguments of `evaluation.compare.run`, from flags."""
    return {
        "evaluations": list(_EVALUATIONS.value),
        "labels_per_class": labels_per_class(),
        "draws": label_draws(),
        "seed": run.seed(),
        "knn_k": _KNN_K.value,
        "knn_temperature": _KNN_TEMPERATURE.value,
    }


def pipeline():
    """Arguments of `simclr_keras.data.pipelines.evaluation`."""
    return {
        "batch_size": _EVAL_BATCH_SIZE.value,
        "image_size": data.image_size(),
    }


def num_batches():
    """Batches of the evaluation split to use; -1 (`take`'s all) for all."""
    return _EVAL_STEPS.value or -1
