"""Top-k accuracy from scores, shared by the protocols."""

import math
import statistics

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


def over_draws(summaries: list[dict]) -> dict:
    """Mean and spread of the `summary` of one test set under several fits.

    Returns:
        dict with `top1` and `top5`, the means (`top5` None as in `summary`);
        `top1_std`, the standard deviation over the fits; its
        `top1_standard_error`, sqrt(n) smaller; both None for one fit;
        `top1_draws`, all of them; and `num_examples`.
    """
    top1 = [summary["top1"] for summary in summaries]
    top5 = [summary["top5"] for summary in summaries]
    deviation = statistics.stdev(top1) if len(top1) > 1 else None
    return {
        "top1": statistics.fmean(top1),
        "top5": None if None in top5 else statistics.fmean(top5),
        "top1_std": deviation,
        "top1_standard_error": deviation and deviation / math.sqrt(len(top1)),
        "top1_draws": top1,
        "num_examples": summaries[0]["num_examples"],
    }


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of examples whose label is among the k best scores.

    Of equal scores the lower class index goes first, as in argmax.
    """
    best = tf.math.top_k(scores, k).indices.numpy()
    found = (best == labels[:, None]).any(axis=1)
    possible = scores[np.arange(len(labels)), labels] > NEVER
    return float(np.mean(found & possible))
