"""Flags of `simclr-client`, apart from those of train.py."""

import os

from absl import flags

from simclr_keras.flags import console

_FORMATS = {"jsonl": ".jsonl", "npz": ".npz", "table": ".txt"}
_REGISTRY = flags.FlagValues()

flags.DEFINE_multi_string(
    "images",
    None,
    "An image file, or a folder, of which all images are taken, to any depth; "
    "may be given several times. With - paths are read from standard input, "
    "one a line.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "server",
    "localhost:8500",
    "Where TensorFlow Serving runs: HOST:8500 for gRPC, which is faster, or "
    "http://HOST:8501 for REST.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "model",
    "encoder",
    "The server's name of the model: MODEL_NAME, or as in models.config.",
    flag_values=_REGISTRY,
)
flags.DEFINE_integer(
    "version",
    None,
    "Version of the model. By default the server chooses: the highest.",
    lower_bound=0,
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "output",
    None,
    "The file to write, in the format of its ending: .jsonl, .npz or .txt. It "
    "appears when it is whole. By default lines of JSON are printed.",
    flag_values=_REGISTRY,
)
flags.DEFINE_enum(
    "format",
    None,
    sorted(_FORMATS),
    "jsonl: a line of JSON per image; npz: NumPy arrays; table: to look at. In "
    "place of the ending of --output.",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    console.AtLeastOne(),
    "batch_size",
    64,
    "The most images in a request; not above the server's max_batch_size.",
    flag_values=_REGISTRY,
)
flags.DEFINE_float(
    "timeout",
    30.0,
    "Seconds that the server has for a request.",
    lower_bound=0.001,
    flag_values=_REGISTRY,
)
flags.DEFINE_integer(
    "retries",
    4,
    "How often a request is repeated if the server is not there or busy. "
    "Pauses grow from 0.1 to 2 seconds. Other errors are not repeated.",
    lower_bound=0,
    flag_values=_REGISTRY,
)

_METAVARS = {
    "images": "PATH",
    "server": "HOST:PORT",
    "model": "NAME",
    "version": "N",
    "output": "FILE",
    "format": "|".join(sorted(_FORMATS)),
    "batch_size": "N",
    "timeout": "SECONDS",
    "retries": "N",
}
_INTRODUCTION = """\
usage: simclr-client --images=FILE|FOLDER [--images=...] [--output=FILE]
       find . -name '*.jpg' | simclr-client --images=- --format=table

Asks a server that runs a model of simclr-export for the embeddings of image
files and, if the model has a probe, their classes. Images that cannot be read
are named at the end and have valid=false in the answer.
"""
_CONSOLE = console.Console("simclr-client", _INTRODUCTION, _REGISTRY, _METAVARS)


def parse(argv=None):
    """Parses the command line; exits on a mistake or a call for help.

    Args:
        argv: list of str, program name first; `sys.argv` by default.

    Returns:
        Flag name -> value, None where not given; `format` is always there.
    """
    values = _CONSOLE.parse(argv, _problem)
    if values["format"] is None:
        values["format"] = _format(values["output"])
    return values


def refuse(message):
    """Ends the process with code 2 and the message on standard error."""
    _CONSOLE.refuse(message)


def fail(message):
    """Ends the process with code 1 and the message on standard error."""
    _CONSOLE.fail(message)


def _problem(values):
    if not values["images"]:
        return "give --images=FILE or --images=FOLDER"
    if "" in values["images"]:
        return "--images must not be empty (is a shell variable unset?)"
    output = values["output"]
    if values["format"] is None and _format(output) is None:
        endings = ", ".join(_FORMATS.values())
        return f"--output={output}: must end in {endings}, or give --format"
    return None


def _format(output):
    if output is None:
        return "jsonl"
    ending = os.path.splitext(output)[1].lower()
    names = [name for name, own in _FORMATS.items() if own == ending]
    return names[0] if names else None
