"""All flags of this package, in reading order, by concern."""

from absl import flags

from simclr_keras.flags import augmentation
from simclr_keras.flags import data
from simclr_keras.flags import devices
from simclr_keras.flags import distillation
from simclr_keras.flags import evaluation
from simclr_keras.flags import export
from simclr_keras.flags import finetuning
from simclr_keras.flags import model
from simclr_keras.flags import optimization
from simclr_keras.flags import run

CONCERNS = (
    data,
    run,
    augmentation,
    model,
    optimization,
    evaluation,
    finetuning,
    distillation,
    export,
    devices,
)


def concerns():
    """Pairs of a concern's one-line description and its absl flags."""
    return [
        (
            module.__doc__.splitlines()[0],
            flags.FLAGS.get_flags_for_module(module.__name__),
        )
        for module in CONCERNS
    ]


def definitions():
    """Every flag's name -> its absl flag, in reading order."""
    return {flag.name: flag for _, group in concerns() for flag in group}


def values():
    """Every flag's name -> its present value, in reading order."""
    return {name: flag.value for name, flag in definitions().items()}


def as_text(value):
    """A flag's value as one would type it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value)
