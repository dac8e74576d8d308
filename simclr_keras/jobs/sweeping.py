"""`--lr_range_test`: looks for a learning rate instead of training."""

import os

import simclr_keras
from simclr_keras import flags
from simclr_keras.flags import optimization as optimization_flags
from simclr_keras.flags import run as run_flags


def lr_range_test(model, batches):
    """Looks for the largest stable learning rate instead of training.

    Args:
        model: compiled `SimCLR` that has not been trained.
        batches: (first step, number of steps) -> dataset of these batches.
    """
    sweep = simclr_keras.lr_range_test
    scaling = optimization_flags.scaled_learning_rate() | {"learning_rate": 1.0}
    try:
        result = sweep.run(
            model,
            batches,
            batch_size=optimization_flags.train_batch_size(),
            scale=simclr_keras.schedules.scaled_learning_rate(**scaling),
        )
    except ValueError as error:
        flags.refuse(f"flag --lr_range_test: {error}")
    os.makedirs(run_flags.model_dir(), exist_ok=True)
    sweep.write(result, run_flags.model_dir())
    print(sweep.describe(result))
