"""Where this process computes, and whether it is the one that writes."""

import os
import sys

import simclr_keras
from simclr_keras import cluster
from simclr_keras import flags
from simclr_keras.flags import devices as device_flags
from simclr_keras.flags import run as run_flags


def strategy():
    """The strategy for this process; None for one device.

    Of several workers, all but the chief print only what goes wrong.
    """
    arguments = device_flags.strategy()
    name = arguments["name"]
    try:
        if cluster.strategy_name(name, arguments["devices"]) == "one":
            return None
        if not is_chief():
            worker = cluster.cluster()
            print(
                f"worker {worker.index} of {worker.num_workers}: see worker 0"
            )
            sys.stdout = open(os.devnull, "w")
        return simclr_keras.distribution.strategy(**arguments)
    except ValueError as error:
        flags.refuse(f"flag --strategy={name}: {error}")


def prepare_keras():
    """Seeds Keras and sets its precision, before models are built."""
    import keras  # Only now: a mistake was answered without TensorFlow.

    keras.utils.set_random_seed(run_flags.seed())
    keras.config.set_dtype_policy(device_flags.dtype_policy())


def is_chief():
    """Whether this process is the one that writes."""
    return cluster.cluster().is_chief
