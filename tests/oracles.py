"""Slow NumPy transcriptions of the papers, the second route to a result."""

import numpy as np


def nt_xent(z1, z2, temperature, hidden_norm=True):
    """SimCLR's algorithm 1, pair by pair: the mean over the 2N views."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    if hidden_norm:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        scores = np.array([z[i] @ z[k] for k in range(2 * n)]) / temperature
        others = np.delete(scores, i)
        top = others.max()
        total += top + np.log(np.exp(others - top).sum()) - scores[partner]
    return total / (2 * n)


def nt_xent_gradient(z1, z2, temperature, hidden_norm=True):
    """d `nt_xent` / d (z1, z2), [2, N, D], from the whole [2N, 2N] matrix."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    n, norm = len(z1), 1.0
    if hidden_norm:
        norm = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / norm
    scores = unit @ unit.T / temperature
    np.fill_diagonal(scores, -np.inf)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(2 * n), (np.arange(2 * n) + n) % (2 * n)] -= 1
    gradient = (p + p.T) @ unit / temperature / (2 * n)
    if hidden_norm:
        along = np.sum(gradient * unit, axis=1, keepdims=True)
        gradient = (gradient - along * unit) / norm
    return gradient.reshape(2, n, -1)
