"""Two replicas on one CPU, for tests whose replicas speak to each other."""

import functools

import tensorflow as tf


@functools.cache
def mirrored():
    """The strategy; one per process, since each counts its collectives anew
    and the runtime takes equal numbers for the same collective."""
    return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
