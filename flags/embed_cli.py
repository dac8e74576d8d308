"""Flags of `simclr-embed`, apart from those of train.py."""

import os

from absl import flags

from simclr_keras.flags import console

_EXTENSIONS = (".parquet", ".npz", ".csv")
_REGISTRY = flags.FlagValues()

flags.DEFINE_string(
    "encoder",
    None,
    "What embeds: the directory of a run of train.py, a .keras file, one "
    "version of a SavedModel of simclr-export (RUN/saved_model/1), or a "
    "checkpoint of google-research/simclr.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "images",
    None,
    "What is embedded: a folder of images, a list of them (.txt, .csv), a .npz "
    "file with x_train, a folder of IDX files, or a name of TensorFlow "
    "Datasets; all of what train.py takes as --dataset. All images are, also "
    "those that training would put aside for testing.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "output",
    None,
    "The file to write, in the format of its ending: .parquet, .npz or .csv. "
    "It appears when it is whole; until then what is done lies beside it in a "
    "folder of this name with .parts behind.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "split",
    None,
    "Embeds this split of --images alone, such as test. By default all.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of prepared TensorFlow Datasets, if not ~/tensorflow_datasets.",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    console.AtLeastOne(),
    "image_size",
    None,
    "Side of the images in pixels as the encoder gets them. Needed only for "
    "encoders that take any size, such as Google's (trained at 224).",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    console.AtLeastOne(),
    "batch_size",
    128,
    "Images that the encoder gets at a time; fewer need less memory.",
    flag_values=_REGISTRY,
)
flags.DEFINE_boolean(
    "overwrite",
    False,
    "Replaces --output and --html if they exist, once the new file is whole, "
    "and parts of --output that were made with other settings.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "embeddings",
    None,
    "A file that simclr-embed wrote, to be searched with --nearest.",
    flag_values=_REGISTRY,
)
flags.DEFINE_string(
    "nearest",
    None,
    "Prints the images nearest to this one by cosine similarity. An image "
    "file, or a path as in the embeddings. One that is not in there is "
    "embedded by --encoder, or else by the encoder of the embeddings.",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    console.AtLeastOne(),
    "k",
    10,
    "How many --nearest finds.",
    flag_values=_REGISTRY,
)

flags.DEFINE_string(
    "html",
    None,
    "A page to write that shows what --nearest finds: one file, with the "
    "pictures inside.",
    flag_values=_REGISTRY,
)

_METAVARS = {
    "encoder": "PATH",
    "images": "PATH",
    "output": "FILE",
    "split": "NAME",
    "data_dir": "PATH",
    "image_size": "N",
    "batch_size": "N",
    "overwrite": None,
    "embeddings": "FILE",
    "nearest": "IMAGE",
    "k": "N",
    "html": "FILE",
}
_INTRODUCTION = """\
usage: simclr-embed --encoder=RUN --images=FOLDER --output=FILE.parquet
       simclr-embed --embeddings=FILE.parquet --nearest=IMAGE [--k=10]
                    [--html=FILE.html]

Embeds images with a trained encoder, preprocessed as in evaluation, and writes
paths, labels and embeddings into one file; or finds the images nearest to one.
If it is stopped or killed, the same command goes on where it was.
"""
_CONSOLE = console.Console("simclr-embed", _INTRODUCTION, _REGISTRY, _METAVARS)


def parse(argv=None):
    """Parses the command line; exits on a mistake or a call for help.

    Args:
        argv: list of str, program name first; `sys.argv` by default.

    Returns:
        Flag name -> value, None where not given. Either `encoder`, `images`
        and `output` are given, or `embeddings` and `nearest` are.
    """
    return _CONSOLE.parse(argv, _problem)


def refuse(message):
    """Ends the process with code 2 and the message on standard error."""
    _CONSOLE.refuse(message)


def fail(message):
    """Ends the process with code 1 and the message on standard error."""
    _CONSOLE.fail(message)


def _problem(values):
    if values["html"] is not None and values["nearest"] is None:
        return "--html needs --nearest"
    if values["embeddings"] is not None:
        return _search_problem(values)
    if values["images"] is None:
        return "give --images to embed, or --embeddings to search"
    for name in ("encoder", "output"):
        if values[name] is None:
            return f"--images needs --{name}"
    return _ending_problem("output", values["output"])


def _search_problem(values):
    for name in ("images", "output", "split", "data_dir"):
        if values[name]:
            return f"--{name} does not go with --embeddings"
    if values["nearest"] is None:
        return "--embeddings needs --nearest"
    return _ending_problem("embeddings", values["embeddings"])


def _ending_problem(name, path):
    if os.path.splitext(path)[1].lower() in _EXTENSIONS:
        return None
    return f"--{name}={path}: must end in {', '.join(_EXTENSIONS)}"
