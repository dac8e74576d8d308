"""NT-Xent, the contrastive loss of SimCLR, and what is read off its logits."""

import tensorflow as tf

from simclr_keras import blockwise
from simclr_keras import distribution

# Squared norms are floored here before the reciprocal root, as Google's code
# does: a zero projection stays zero and its gradient stays finite.
_EPSILON = 1e-12

# Bytes of one replica's logits beyond which they are computed by blocks.
_DENSE_BYTES = 64 * 2**20


def nt_xent(z1, z2, temperature=0.1, hidden_norm=True, block_size=None):
    """Normalised temperature-scaled cross entropy, mean over all views.

    For a view i with partner j (SimCLR, eq. 1, arXiv:2002.05709)

        l(i, j) = -log(exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau))

    with s the cosine similarity and k over the other 2G - 1 views. This is
    the mean of l over the views, as in the paper; Google's code returns the
    sum of both directions, twice as much. Equal projections everywhere give
    the chance level ln(2G - 1).

    Inside a replica context of `tf.distribute`, negatives are those of all
    replicas and the mean is over this replica's own views: the average over
    replicas is the loss of the global batch.

    There are two routes to the same value and gradient: all 2B x 2G logits at
    once, or `block_size` rows of them at a time (see `blockwise`), in memory
    that grows with G instead of B G. The second one has no second derivative.

    Args:
        z1, z2: [B, D] projections of the first and the second view of the
            same images, any float dtype; computed in float32.
        temperature: float > 0, tau in the equation.
        hidden_norm: whether to l2-normalise the projections; if not, s is the
            inner product.
        block_size: int >= 1, views whose logits are computed at a time, need
            not divide B; None for all at once up to 64 MiB of logits, beyond
            that (or if B is not known when a function is traced) for as many
            as are fast.

    Returns:
        Scalar float32.

    Raises:
        ValueError: if `temperature` or `block_size` is not positive or the
            shapes are not two equal [B, D].
    """
    return contrastive(z1, z2, temperature, hidden_norm, block_size)[0]


def contrastive(z1, z2, temperature=0.1, hidden_norm=True, block_size=None):
    """`nt_xent` with what is read off the same logits.

    Args: as for `nt_xent`.

    Returns:
        Three scalars float32: the loss; `contrastive_accuracy` in [0, 1] and
        `contrastive_entropy` in [0, ln G], without gradient.
    """
    _check(z1, z2, temperature, block_size)
    if block_size is None and _fits(z1):
        logits = view_logits(z1, z2, temperature, hidden_norm)
        return (
            mean_cross_entropy(logits),
            contrastive_accuracy(logits),
            tf.stop_gradient(contrastive_entropy(logits)),
        )
    # The root of the temperature on either side keeps the logits symmetric.
    z1 = _prepared(z1, hidden_norm) / temperature**0.5
    z2 = _prepared(z2, hidden_norm) / temperature**0.5
    first, second, hit, entropy = map(
        tf.reduce_mean, blockwise.cross_entropies(z1, z2, block_size)
    )
    return (first + second) / 2, hit, entropy


def view_logits(z1, z2, temperature, hidden_norm=True):
    """Similarities of this replica's views to all views, over temperature.

    Args: as for `nt_xent`.

    Returns:
        Dict of four [B, G] float32: rows "1" are this replica's first views
        and "2" its second ones, columns all replicas'. Self-similarity, in
        "11" and "22", is set to the lowest finite number.
    """
    _check(z1, z2, temperature)
    z1, z2 = _prepared(z1, hidden_norm), _prepared(z2, hidden_norm)
    all1, all2 = distribution.gather(z1), distribution.gather(z2)
    z1, z2 = z1 / temperature, z2 / temperature
    own = _own_columns(z1, all1)
    return {
        "12": tf.matmul(z1, all2, transpose_b=True),
        "21": tf.matmul(z2, all1, transpose_b=True),
        "11": _without_self(tf.matmul(z1, all1, transpose_b=True), own),
        "22": _without_self(tf.matmul(z2, all2, transpose_b=True), own),
    }


def mean_cross_entropy(logits):
    """NT-Xent from `view_logits`: the mean of l(i, j) over the rows."""
    first = _cross_entropy(logits["12"], logits["11"])
    second = _cross_entropy(logits["21"], logits["22"])
    return tf.reduce_mean(first + second) / 2


def contrastive_accuracy(logits):
    """Share of first views whose nearest second view is their partner.

    As in Google's code this is a choice among the G second views only, not
    among the 2G - 1 candidates of the loss.
    """
    hit = tf.equal(_partner(logits["12"]), tf.argmax(logits["12"], axis=1))
    return tf.reduce_mean(tf.cast(hit, tf.float32))


def contrastive_entropy(logits):
    """Mean entropy, in nats, of the softmax over the G second views."""
    log_p = tf.nn.log_softmax(logits["12"], axis=1)
    return -tf.reduce_mean(tf.reduce_sum(tf.exp(log_p) * log_p, axis=1))


def _prepared(z, hidden_norm):
    z = tf.cast(z, tf.float32)
    if not hidden_norm:
        return z
    squared = tf.reduce_sum(tf.square(z), axis=-1, keepdims=True)
    return z * tf.math.rsqrt(tf.maximum(squared, _EPSILON))


def _own_columns(rows, columns):
    """[B, G] float32, 1 where the column is the row's own view."""
    return tf.one_hot(
        _first_column(tf.shape(rows)[0]) + tf.range(tf.shape(rows)[0]),
        tf.shape(columns)[0],
    )


def _without_self(logits, own):
    # A select, not a subtraction: 0 * inf must not turn into NaN.
    return tf.where(own > 0, logits.dtype.min, logits)


def _cross_entropy(across, within):
    columns = tf.expand_dims(_partner(across), 1)
    positive = tf.gather(across, columns, batch_dims=1)[:, 0]
    every = tf.concat([across, within], axis=1)
    return tf.reduce_logsumexp(every, axis=1) - positive


def _partner(logits):
    """[B] int64, the column of each row's own image."""
    num_rows = tf.shape(logits)[0]
    return tf.cast(_first_column(num_rows) + tf.range(num_rows), tf.int64)


def _first_column(num_rows):
    return distribution.replica_id() * num_rows


def _fits(z):
    """Whether this replica's 2B x 2G logits may be there at once."""
    num_rows = tf.convert_to_tensor(z).shape[0]
    if num_rows is None:
        return False
    return 16 * num_rows**2 * distribution.num_replicas() <= _DENSE_BYTES


def _check(z1, z2, temperature, block_size=None):
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be greater than 0. "
            f"Received: temperature={temperature}"
        )
    if block_size is not None and block_size < 1:
        raise ValueError(
            "`block_size` must be at least 1, or None. "
            f"Received: block_size={block_size}"
        )
    shapes = [tf.convert_to_tensor(z).shape for z in (z1, z2)]
    if shapes[0].rank != 2 or not shapes[0].is_compatible_with(shapes[1]):
        raise ValueError(
            "`z1` and `z2` must both be [B, D] projections of the same "
            f"images. Received: shapes {shapes[0]} and {shapes[1]}"
        )
