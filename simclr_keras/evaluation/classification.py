"""The accuracy of a classifier as it is: nothing is fitted."""

import numpy as np
import tensorflow as tf

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import checks
from simclr_keras.evaluation.features import extract


def run(model, test: tf.data.Dataset, *, verbose: bool = False) -> dict:
    """Top-k accuracy of a model on labelled images.

    Args:
        model: callable with the attributes `name` and `weights`, such as a
            `Classifier` or a `Teacher`: images [B, S, S, 3] in [0, 1] ->
            logits [B, K]. It runs in inference mode and stays bit-identical.
        test: finite dataset of (images, labels [B] int), as evaluation sees
            them.
        verbose: whether to show a progress bar.

    Returns:
        dict for JSON, with the accuracies of `finetune.run` for one seed, and
        `num_classes` and `num_parameters`.

    Raises:
        ValueError: if labels are missing or out of range.
    """
    checks.labelled(test=test)
    scores = extract(model, test, verbose=verbose)
    num_classes = scores.x.shape[1]
    checks.labels("test", scores.labels, num_classes)
    summary = accuracy.summary(scores.x, scores.labels)
    return {
        "protocol": "classified as it is; standard error over the test "
        "examples",
        **accuracy.over_draws([summary]),
        "top1_standard_error": summary["top1_standard_error"],
        "num_classes": num_classes,
        "num_parameters": sum(int(np.prod(w.shape)) for w in model.weights),
    }
