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
