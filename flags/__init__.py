"""Command-line flags: definitions by concern, recipes, rules.

A program calls three functions; everything else is asked of the concern's
module, whose functions return the arguments of one callable of the library:

    given = flags.parse()                  # exits on a mistake
    resolved = flags.resolve(given, image_size=..., num_examples=...)
    flags.snapshot("run.flags")
    encoder = simclr_keras.resnet(**model_flags.resnet())

Nothing here imports TensorFlow or the library, so that a mistake on the
command line is answered at once; nothing in the library reads a flag.
"""

from simclr_keras.flags.command_line import parse
from simclr_keras.flags.command_line import refuse
from simclr_keras.flags.settings import Resolved
from simclr_keras.flags.settings import check_replicas
from simclr_keras.flags.settings import resolve
from simclr_keras.flags.settings import snapshot

__all__ = [
    "Resolved",
    "check_replicas",
    "parse",
    "refuse",
    "resolve",
    "snapshot",
]
