"""The only file that speaks to `tf.distribute`."""

import tensorflow as tf


def num_replicas():
    """Replicas in the strategy in scope; 1 without one."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id():
    """This replica's number; a Python int 0 where there is only one."""
    context = tf.distribute.get_replica_context()
    if context is None or num_replicas() == 1:
        return 0
    return tf.cast(context.replica_id_in_sync_group, tf.int32)


def gather(z):
    """[B, ...] on each replica -> [G, ...], all replicas' rows in order.

    Differentiable: the gradient for this replica's rows is the sum of what
    every replica asks of them. All replicas must hold equally many rows.
    """
    context = tf.distribute.get_replica_context()
    if context is None or num_replicas() == 1:
        return z
    return context.all_gather(z, axis=0)


def repeat(body, count, state):
    """What `state` is after `body(i, *state)` for i in 0 .. `count` - 1.

    One iteration ends before the next begins, so that memory does not grow
    with `count`. A loop of the graph, except on several replicas: those meet
    inside `body`, which `tf.distribute` does not allow in a loop, so that it
    is traced `count` times.

    Args:
        body: function from an int32 scalar and tensors to a list of tensors.
        count: int.
        state: list of tensors or `tf.TensorArray`.
    """
    if num_replicas() == 1 or _is_tpu():
        _, *state = tf.while_loop(
            lambda i, *_: i < count,
            lambda i, *state: [i + 1, *body(i, *state)],
            [tf.constant(0), *state],
            parallel_iterations=1,
            maximum_iterations=count,
        )
        return state
    for i in range(count):
        before = [getattr(x, "flow", x) for x in state]
        with tf.control_dependencies(before):
            state = body(tf.constant(i), *state)
    return state


def _is_tpu():
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
