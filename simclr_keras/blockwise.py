"""NT-Xent from blocks of rows of the logits, which are never all there."""

import tensorflow as tf

from simclr_keras import distribution

# Logits of a block against one view of all images: 4 MiB stay in the cache of
# a CPU. Fewer rows than these make slow matrix products.
_LOGITS = 2**20
_MIN_ROWS = 32


def cross_entropies(z1, z2, block_size=None):
    """The l of every view of this replica, and what its logits tell.

    With s_ik = z_i . z_k and the partner j of view i (SimCLR, eq. 1)

        l_i = lse_i - s_ij,   lse_i = log sum_{k != i} exp(s_ik)

    Since s is symmetric, row i of s holds all that z_i takes part in. With
    p_ik = exp(s_ik - lse_i) and d_i the gradient with respect to l_i,

        dL/dz_i = sum_{k != i} (d_i p_ik + d_k p_ki) z_k - (d_i + d_j) z_j

    so that a block of rows is computed once forward and once backward, and
    gives the gradient of its views at once: replicas exchange two numbers
    for each view, not gradients of all views. Memory is that of all
    projections and of one block, G (D + block_size).

    Args:
        z1, z2: [B, D] float32 projections of the first and the second view,
            both over the square root of the temperature.
        block_size: int, views at a time; None for as many as fit the cache.

    Returns:
        Four [B] float32: l of the first views; l of the second views; 1 where
        a first view's nearest second view is its partner; the entropy of its
        softmax over the second views. The last two carry no gradient.
    """
    block_size = _rows_of_block(z1, block_size)
    return tf.custom_gradient(lambda *z: _both(*z, block_size))(z1, z2)


def _both(z1, z2, block_size):
    """What `cross_entropies` returns, and the function of its gradient."""
    all1, all2 = _gather(z1), _gather(z2)
    own = tf.range(_num_rows(z1)) + distribution.replica_id() * _num_rows(z1)

    def first(z, own):
        across, within = _logits(z, own, all1, all2)
        return [*_cross_entropy(across, within, own), *_metrics(across, own)]

    def second(z, own):
        return _cross_entropy(*_logits(z, own, all2, all1), own)

    l1, lse1, hit, entropy = _by_blocks(first, block_size, 4, z1, own)
    l2, lse2 = _by_blocks(second, block_size, 2, z2, own)

    def gradient(d1, d2, *_):
        mine = tf.stack([lse1, d1, lse2, d2], axis=1)
        every = tf.unstack(_gather(mine), axis=1)
        every1, every2 = every[:2], every[2:]

        def first(*rows):
            return [_gradient(*rows, all1, all2, every1, every2)]

        def second(*rows):
            return [_gradient(*rows, all2, all1, every2, every1)]

        return (
            *_by_blocks(first, block_size, 1, z1, own, lse1, d1),
            *_by_blocks(second, block_size, 1, z2, own, lse2, d2),
        )

    return (l1, l2, hit, entropy), gradient


def _gather(rows):
    # Several replicas forget the width.
    return tf.ensure_shape(distribution.gather(rows), [None, rows.shape[1]])


def _logits(z, own, same, other):
    """Two [b, G]: logits with the other and with the same view of all."""
    within = tf.matmul(z, same, transpose_b=True)
    lowest = tf.fill(tf.shape(own), within.dtype.min)
    within = tf.tensor_scatter_nd_update(within, _places(own), lowest)
    return tf.matmul(z, other, transpose_b=True), within


def _cross_entropy(across, within, own):
    lse = tf.reduce_logsumexp(across, axis=1)
    positive = tf.gather_nd(across, _places(own))
    # log(exp a + exp b) = a + softplus(b - a)
    rest = tf.nn.softplus(tf.reduce_logsumexp(within, axis=1) - lse)
    return [lse - positive + rest, lse + rest]


def _metrics(across, own):
    hit = tf.equal(tf.argmax(across, axis=1, output_type=own.dtype), own)
    below = across - tf.reduce_max(across, axis=1, keepdims=True)
    weight = tf.exp(below)
    total = tf.reduce_sum(weight, axis=1)
    mean = tf.reduce_sum(weight * below, axis=1) / total
    return [tf.cast(hit, tf.float32), tf.math.log(total) - mean]


def _gradient(z, own, lse, d, same, other, every_same, every_other):
    """[b, D], dL/dz of the rows; `every_*` are lse and d of the columns."""
    across, within = _logits(z, own, same, other)
    across = _weights(across, lse, d, *every_other)
    partner = d + tf.gather(every_other[1], own)
    across = tf.tensor_scatter_nd_sub(across, _places(own), partner)
    within = _weights(within, lse, d, *every_same)
    return tf.matmul(across, other) + tf.matmul(within, same)


def _weights(logits, lse, d, column_lse, column_d):
    """d_i p_ik + d_k p_ki."""
    lse, d = lse[:, tf.newaxis], d[:, tf.newaxis]
    return _exp(logits - lse) * d + _exp(logits - column_lse) * column_d


def _exp(log_p):
    # s_ki of another block may round differently: no probability above 1.
    return tf.exp(tf.minimum(log_p, 0.0))


def _places(columns):
    """[b, 2]: each row with its column."""
    return tf.stack([tf.range(tf.shape(columns)[0]), columns], axis=1)


def _by_blocks(function, block_size, num_outputs, *arrays):
    """What `function` makes of the rows of `arrays`, a block at a time."""
    num_rows = _num_rows(arrays[0])
    outputs = tf.map_fn(
        lambda rows: function(*rows),
        [_blocks(array, block_size) for array in arrays],
        fn_output_signature=[tf.float32] * num_outputs,
        parallel_iterations=1,
    )
    return [tf.reshape(x, [-1, *x.shape[2:]])[:num_rows] for x in outputs]


def _blocks(array, block_size):
    """[B, ...] -> [blocks, block_size, ...], filled up with zeros."""
    missing = -_num_rows(array) % block_size
    rest = array.shape[1:]
    array = tf.pad(array, [[0, missing]] + [[0, 0]] * len(rest))
    return tf.reshape(array, [-1, block_size, *rest])


def _rows_of_block(z, block_size):
    num_rows = _num_rows(z)
    if block_size is None:
        num_columns = num_rows * distribution.num_replicas()
        block_size = _larger(_LOGITS // num_columns, _MIN_ROWS)
    return -_larger(-block_size, -num_rows)


def _larger(a, b):
    return (
        max(a, b)
        if isinstance(a, int) and isinstance(b, int)
        else tf.maximum(a, b)
    )


def _num_rows(array):
    """Python int where it is known."""
    return array.shape[0] or tf.shape(array)[0]
