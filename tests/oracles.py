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
