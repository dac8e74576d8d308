"""Multinomial logistic regression on embeddings, by scikit-learn."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import checks
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import Features

# scikit-learn's C, the inverse weight of the penalty |W|^2 / 2 beside the
# summed cross entropy. The grid is walked upwards.
C_GRID = (0.01, 0.1, 1.0, 10.0)
DEFAULT_C = 1.0

_VALIDATION_SHARE = 0.2
# C is chosen on at most so many examples to fit on and to validate on: the
# whole of a large set would cost four more fits for the same choice.
_MOST_FOR_CHOICE = 10_000
# With fewer validation examples, one more hit is a percent: mere chance.
_FEWEST_FOR_CHOICE = 100

# Below this many numbers, 200 MB, a fit runs on one core. Its products have
# K columns and are bound by memory: a second core gains a third, and where
# another program uses it, each product waits for both, up to 30 times longer.
_MOST_FOR_ONE_CORE = 50_000_000

_TOLERANCE = 1e-4
_MAX_ITERATIONS = 1000


@dataclasses.dataclass(frozen=True)
class Probe:
    """A fitted linear classifier, logits = h @ kernel + bias.

    Attributes:
        kernel: [F, K] float32. It acts on raw embeddings: the standardisation
            that it was fitted with is folded into it.
        bias: [K] float32. Column k is the class with label k; a class that
            had no example has float32's minimum and is never predicted.
        C: scikit-learn's inverse regularisation.
        num_train: how many examples it was fitted on.
        num_validation: how many of them C was chosen on first; 0 if C was
            given or there were too few.
        iterations: of L-BFGS, in the last fit.
        converged: whether that fit reached its tolerance.
    """

    kernel: np.ndarray
    bias: np.ndarray
    C: float
    num_train: int
    num_validation: int
    iterations: int
    converged: bool

    def logits(self, x: np.ndarray) -> np.ndarray:
        """[N, F] float -> [N, K] float32."""
        return x @ self.kernel + self.bias

    def to_keras(self) -> keras.Model:
        """This probe as a model [B, F] -> logits [B, K], float32.

        The same shape of model as `simclr_keras.heads.linear_probe`, ready
        for `export_saved_model(..., classifier=...)`; `keras.ops.softmax` of
        its output are the probabilities.
        """
        features, num_classes = self.kernel.shape
        inputs = keras.Input((features,), name="features")
        dense = keras.layers.Dense(
            num_classes, dtype="float32", name="linear_probe"
        )
        model = keras.Model(inputs, dense(inputs), name="linear_probe")
        dense.set_weights([self.kernel, self.bias])
        return model


def fit(
    features: Features,
    *,
    C: float | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Probe:
    """A linear classifier of all of `features`.

    Embeddings are centred and divided, feature by feature, by their standard
    deviation, or by the root mean square of all standard deviations where
    that is larger: features that hardly vary (border pixels, dying units) are
    not blown up. Plain standardisation costs the raw pixels of digits, as a
    baseline, two points at five labels per class.

    Args:
        features: with labels.
        C: scikit-learn's inverse regularisation; None chooses it.
        num_classes: K; None takes the largest label plus one.
        seed: int >= 0, of the validation split that C is chosen on.

    Raises:
        ValueError: if labels are missing, out of range or all the same, or
            `C` is not positive.
    """
    num_classes = checks.training("features", features, num_classes)
    _check_c(C)
    mean, scale = _standardization(features.x)
    x = _standardized(features.x, mean, scale)
    return _fit(x, features.labels, mean, scale, C, num_classes, seed)


def fit_few(
    features: Features,
    labels_per_class: int,
    *,
    seeds: Sequence[int],
    C: float = DEFAULT_C,
    num_classes: int | None = None,
) -> list[Probe]:
    """One classifier per seed, each of its own few labelled examples.

    The draws are those of `subsets.per_class`. The standardisation is that of
    all of `features`, which takes no label; C is fixed, since so few labels
    leave none to choose it with.

    Raises:
        ValueError: as `fit`, or if a class has too few examples.
    """
    num_classes = checks.training("features", features, num_classes)
    _check_c(C)
    mean, scale = _standardization(features.x)
    probes = []
    for seed in seeds:
        rows = subsets.per_class(features.labels, labels_per_class, seed=seed)
        x = _standardized(features.x[rows], mean, scale)
        labels = features.labels[rows]
        probes.append(_fit(x, labels, mean, scale, C, num_classes, seed))
    return probes


def _standardization(x):
    scaler = StandardScaler().fit(x)
    deviation = np.sqrt(scaler.var_)
    floor = math.sqrt(np.mean(scaler.var_))
    # A collapsed encoder has no deviation at all: scale by 1.
    return scaler.mean_, np.maximum(deviation, floor) if floor else 1.0


def _standardized(x, mean, scale):
    # float32 halves the time of a fit, which is bound by memory.
    return ((x - mean.astype(np.float32)) / scale).astype(np.float32)


def _fit(x, labels, mean, scale, C, num_classes, seed):
    # Warm starts: each fit begins where the one before it ended.
    model = LogisticRegression(
        tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, warm_start=True
    )
    num_validation = 0
    with threadpool_limits(1 if x.size < _MOST_FOR_ONE_CORE else None):
        if C is None:
            C, num_validation = _chosen_c(model, x, labels, seed)
        converged = _fitted(model, x, labels, C)
    kernel, bias = _columns(model, num_classes)
    kernel = kernel / np.reshape(scale, (-1, 1))
    return Probe(
        kernel=kernel.astype(np.float32),
        bias=(bias - mean @ kernel).astype(np.float32),
        C=float(C),
        num_train=len(labels),
        num_validation=num_validation,
        iterations=int(np.max(model.n_iter_)),
        converged=converged,
    )


def _chosen_c(model, x, labels, seed):
    """The C with the best validation accuracy, the smallest of equal ones.

    The walk up the grid ends where accuracy falls: what follows would be the
    slowest fits, of probes that fit their training examples ever closer.
    """
    rows, held = subsets.validation_split(
        labels, _VALIDATION_SHARE, seed=seed, most=_MOST_FOR_CHOICE
    )
    if len(held) < _FEWEST_FOR_CHOICE:
        return DEFAULT_C, 0
    best, best_score = DEFAULT_C, -1.0
    for C in C_GRID:
        _fitted(model, x[rows], labels[rows], C)
        score = model.score(x[held], labels[held])
        if score < best_score:
            break
        if score > best_score:
            best, best_score = C, score
    return best, len(held)


def _fitted(model, x, labels, C):
    """Fits `model` and tells whether it converged."""
    model.set_params(C=C)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x, labels)
    others = [w for w in caught if w.category is not ConvergenceWarning]
    for other in others:
        warnings.warn_explicit(
            other.message, other.category, other.filename, other.lineno
        )
    return len(others) == len(caught)


def _columns(model, num_classes):
    """scikit-learn's weights as kernel [F, K] and bias [K] float64."""
    weights = model.coef_.T.astype(np.float64)
    intercept = model.intercept_.astype(np.float64)
    if len(model.classes_) == 2:
        # Two classes are one logit there; softmax([0, z]) is the same.
        weights = np.pad(weights, ((0, 0), (1, 0)))
        intercept = np.pad(intercept, (1, 0))
    kernel = np.zeros((len(weights), num_classes))
    bias = np.full(num_classes, accuracy.NEVER, np.float64)
    kernel[:, model.classes_] = weights
    bias[model.classes_] = intercept
    return kernel, bias


def _check_c(C):
    if C is not None and not C > 0:
        raise ValueError(f"`C` must be greater than 0. Received: C={C}")
