"""Top-k accuracy from scores, shared by the protocols."""

import math

import numpy as np
import tensorflow as tf

# The score of a class that is no prediction: it has no training example, or
# no vote. It counts as a miss even where it is among the best k.
NEVER = np.finfo(np.float32).min


def summary(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Accuracies of `scores` [N, K] float against `labels` [N] int.

    Returns:
        dict with `top1`; `top5`, None where K <= 5, since any features would
        reach 1.0; `num_examples`; and `top1_standard_error`, that of a
        proportion over the N examples, sqrt(p (1 - p) / N).
    """
    top1 = top_k(scores, labels, 1)
    several = scores.shape[1] > 5
    return {
        "top1": top1,
        "top5": top_k(scores, labels, 5) if several else None,
        "top1_standard_error": math.sqrt(top1 * (1 - top1) / len(labels)),
        "num_examples": len(labels),
    }


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of examples whose label is among the k best scores.

    Of equal scores the lower class index goes first, as in argmax.
    """
    best = tf.math.top_k(scores, k).indices.numpy()
    found = (best == labels[:, None]).any(axis=1)
    possible = scores[np.arange(len(labels)), labels] > NEVER
    return float(np.mean(found & possible))
