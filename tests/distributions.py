"""Statistical tests of own draws against recorded statistics of Google's code.

All are two-sample tests between n own draws and m recorded ones, at five
standard errors, which a right sampler fails once in two million times. Seeds
are fixed, so a passing test keeps passing.
"""

import numpy as np

_SIGMAS = 5
_PERCENTILES = np.arange(10, 100, 10) / 100
# Wider than float32 rounding, for values that many draws share.
_ATOM = 1e-5


def assert_same_fraction(own, expected, draws):
    """The share of True in `own` against `expected`, one of `draws`."""
    own = np.asarray(own)
    pooled = (np.sum(own) + expected * draws) / (len(own) + draws)
    error = _standard_error(np.sqrt(pooled * (1 - pooled)), len(own), draws)
    assert abs(np.mean(own) - expected) <= _SIGMAS * error


def assert_same_distribution(own, expected, draws):
    """The mean and the nine deciles of `own` against the block `expected`.

    At a recorded decile p, the share of own values below must not exceed p,
    nor that of own values up to it fall short of p, by more than the error.
    """
    own = np.asarray(own, np.float64)
    error = _standard_error(expected["std"], len(own), draws)
    assert abs(np.mean(own) - expected["mean"]) <= _SIGMAS * error + _ATOM
    for p, decile in zip(_PERCENTILES, expected["deciles"], strict=True):
        error = _standard_error(np.sqrt(p * (1 - p)), len(own), draws)
        assert np.mean(own < decile - _ATOM) <= p + _SIGMAS * error, p
        assert np.mean(own <= decile + _ATOM) >= p - _SIGMAS * error, p


def assert_same_histogram(own, expected):
    """Chi-square of two histograms: at most 5 sigma above its expectation."""
    own, expected = np.asarray(own, float), np.asarray(expected, float)
    common = own + expected >= 20
    own, expected = own[common], expected[common]
    ratio = np.sqrt(expected.sum() / own.sum())
    squares = (own * ratio - expected / ratio) ** 2 / (own + expected)
    freedom = max(len(own) - 1, 1)
    assert np.sum(squares) <= freedom + _SIGMAS * np.sqrt(2 * freedom)


def _standard_error(deviation, n, m):
    return deviation * np.sqrt(1 / n + 1 / m)
