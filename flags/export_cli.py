"""Flags of `python -m simclr_keras.export`, apart from those of train.py.

They have a registry of their own, since both commands have a --model_dir and
an --image_size, with different meanings.
"""

import copy
import os
import sys
import textwrap

from absl import flags

_REGISTRY = flags.FlagValues()


class _Side(flags.ArgumentParser):
    syntactic_help = "a whole number of at least 1"

    def parse(self, argument):
        try:
            if int(argument) >= 1:
                return int(argument)
        except ValueError:
            pass
        raise ValueError("must be a whole number of at least 1")


flags.DEFINE_string(
    "model_dir",
    None,
    "Directory of a finished run of train.py: its encoder.keras is exported, "
    "with its linear_probe.npz as classifier if there is one.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "encoder",
    None,
    "A Keras model file of images [B, H, W, 3] in [0, 1] to features [B, F], "
    "in place of --model_dir; needs --image_size and --output. Or a "
    "checkpoint, SavedModel or hub module of google-research/simclr, whose "
    "supervised head becomes the classifier where there is one.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "linear_probe",
    None,
    "An .npz file with `kernel` [F, K], `bias` [K] and perhaps `class_names` "
    "[K]; adds classes and their probabilities to the model's answers.",
    flag_values=_REGISTRY,
)
flags.DEFINE_integer(
    "ft_proj_selector",
    None,
    "What the supervised head of Google's checkpoint reads: 0, the default, "
    "the features; k, the k-th layer of the projection head. Google fine-tuned "
    "SimCLRv2 with 1 % and 10 % of the labels from layer 1.",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    _Side(),
    "image_size",
    None,
    "Side of the images that the encoder takes, in pixels. With --model_dir "
    "it is the run's.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "output",
    None,
    "The folder to serve from, in which the next version is written; or a "
    "new version in it, as saved_model/3. With --model_dir it is "
    "MODEL_DIR/saved_model.",
    flag_values=_REGISTRY,
)

_NAMES = (
    "model_dir",
    "encoder",
    "linear_probe",
    "ft_proj_selector",
    "image_size",
    "output",
)
_NUMBERS = ("ft_proj_selector", "image_size")
_PROGRAM = "simclr-export"
_HELP = ("--help", "-help", "-h", "-?", "--helpshort", "--helpfull")
_INTRODUCTION = """\
usage: simclr-export --model_dir=RUN [--output=FOLDER]
       simclr-export --encoder=FILE --image_size=N --output=FOLDER
                     [--linear_probe=FILE]
       simclr-export --encoder=GOOGLE_CHECKPOINT --image_size=224
                     --output=FOLDER [--ft_proj_selector=N]

Writes an encoder as a TensorFlow SavedModel, which answers image files or
tensors with embeddings and, with a probe, classes. It is written into a
folder that TensorFlow Serving can watch; no earlier version is changed.
"""


def parse(argv=None):
    """Parses the command line; exits on a mistake or a call for help.

    Args:
        argv: list of str, program name first; `sys.argv` by default.

    Returns:
        Flag name -> value, None where not given. Either `model_dir` is given,
        or `encoder`, `image_size` and `output` are.
    """
    argv = sys.argv if argv is None else argv
    if not set(argv[1:]).isdisjoint(_HELP):
        print(help_text())
        raise SystemExit(0)
    # Values are an answer here, no state of the module.
    registry = copy.deepcopy(_REGISTRY)
    try:
        rest = registry(argv)[1:]
    except flags.Error as error:
        refuse(str(error))
    values = {name: _expanded(registry[name].value) for name in _NAMES}
    problem = _problem(values, rest)
    if problem:
        refuse(problem)
    return values


def refuse(message):
    """Ends the process with code 2 and the message on standard error."""
    print(f"{_PROGRAM}: {message}", file=sys.stderr)
    print("Try --help for all flags.", file=sys.stderr)
    raise SystemExit(2)


def help_text():
    """What --help prints."""
    lines = [_INTRODUCTION]
    for name in _NAMES:
        metavar = "N" if name in _NUMBERS else "PATH"
        lines.append(f"  --{name}={metavar}")
        lines.append(
            textwrap.fill(
                _REGISTRY[name].help,
                width=79,
                initial_indent=" " * 6,
                subsequent_indent=" " * 6,
            )
        )
    return "\n".join(lines)


def _expanded(value):
    # No shell expands the tilde of --output=~/models.
    return os.path.expanduser(value) if isinstance(value, str) else value


def _problem(values, rest):
    if rest:
        return f"unexpected argument {rest[0]}: flags start with --"
    empty = [name for name, value in values.items() if value == ""]
    if empty:
        return f"--{empty[0]} must not be empty (is a shell variable unset?)"
    if (values["model_dir"] is None) == (values["encoder"] is None):
        return "give one of --model_dir and --encoder"
    if values["encoder"] is not None:
        for name in ("image_size", "output"):
            if values[name] is None:
                return f"--encoder needs --{name}"
    return None
