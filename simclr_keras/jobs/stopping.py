"""How a run that cannot go on ends: with the reason and what to do next."""

import contextlib
import shlex
import sys

import simclr_keras
from simclr_keras.flags import finetuning as finetuning_flags


@contextlib.contextmanager
def explained(checkpoints):
    """Turns what stops a training into a message and an exit code.

    Args:
        checkpoints: `training_state.Checkpoints` of the run.
    """
    callbacks = simclr_keras.callbacks
    try:
        yield
    except callbacks.NonFiniteLoss as error:
        advice = (
            f"{error}. The learning rate is the usual cause: try a third of "
            "--learning_rate in a new --model_dir"
        )
        if finetuning_flags.train_mode() == "pretrain":
            advice += ", or --lr_range_test"
        _stop(checkpoints, advice)
    except callbacks.Interrupted as error:
        again = f"{error} received. To go on: {command()}"
        _stop(checkpoints, again, code=128 + error.number)
    except OSError as error:
        _stop(checkpoints, f"{error}. When that is mended, go on: {command()}")


def command():
    """The command line that goes on with this run."""
    program, *arguments = sys.argv
    again = [a for a in arguments if not a.lstrip("-").startswith("overwrite")]
    start = ["python"] if program.endswith(".py") else []
    return shlex.join([*start, program, *again])


def _stop(checkpoints, reason, code=1):
    """Ends the program with the reason and what there is to go on from."""
    step = max(checkpoints.steps(), default=None)
    kept = "no checkpoint yet"
    if step is not None:
        kept = f"checkpoint of step {step} in place"
    print(f"\nstopped, {kept}: {reason}", file=sys.stderr)
    sys.exit(code)
