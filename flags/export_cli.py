"""Flags of `python -m simclr_keras.export`, apart from those of train.py."""

from absl import flags

from simclr_keras.flags import console

_REGISTRY = flags.FlagValues()

flags.DEFINE_string(
    "model_dir",
    None,
    "Directory of a finished run of train.py: its encoder.keras is exported, "
    "with the classifier.keras that it trained, or its linear_probe.npz, if "
    "there is one.",
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
    console.AtLeastOne(),
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
flags.DEFINE_enum(
    "serving_precision",
    "float32",
    ["float32", "bfloat16"],
    "What the encoder computes in; inputs and answers are float32 in any "
    "case. bfloat16 halves its size and is faster on CPUs with AVX-512 BF16 "
    "or AMX and on recent GPUs; features then differ by about 1 %.",
    flag_values=_REGISTRY,
)
flags.DEFINE(
    console.AtLeastOne(),
    "keep_versions",
    None,
    "How many of the newest versions to keep in the folder; the others that "
    "this command or train.py wrote are deleted. By default all are kept.",
    flag_values=_REGISTRY,
)

_METAVARS = {
    "model_dir": "PATH",
    "encoder": "PATH",
    "linear_probe": "PATH",
    "ft_proj_selector": "N",
    "image_size": "N",
    "output": "PATH",
    "serving_precision": "float32|bfloat16",
    "keep_versions": "N",
}
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
_CONSOLE = console.Console("simclr-export", _INTRODUCTION, _REGISTRY, _METAVARS)


def parse(argv=None):
    """Parses the command line; exits on a mistake or a call for help.

    Args:
        argv: list of str, program name first; `sys.argv` by default.

    Returns:
        Flag name -> value, None where not given. Either `model_dir` is given,
        or `encoder`, `image_size` and `output` are.
    """
    return _CONSOLE.parse(argv, _problem)


def refuse(message):
    """Ends the process with code 2 and the message on standard error."""
    _CONSOLE.refuse(message)


def _problem(values):
    if (values["model_dir"] is None) == (values["encoder"] is None):
        return "give one of --model_dir and --encoder"
    if values["encoder"] is not None:
        for name in ("image_size", "output"):
            if values[name] is None:
                return f"--encoder needs --{name}"
    return None
