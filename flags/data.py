"""Data: which images, where they are, which parts are used, at what size."""

from simclr_keras.flags import definitions
from simclr_keras.flags import run

_FILES = (".npz", ".txt", ".csv")
_DATASET = definitions.path(
    "dataset",
    "digits",
    "Images to train on: digits (scikit-learn's, part of the installation); "
    "a folder of images, labelled by sub-folder or not at all; a .txt or .csv "
    "list of image files, each with a label or not; an .npz file "
    "with x_train, y_train, x_test, y_test; a folder of IDX files; or the "
    "name of a TensorFlow data set such as cifar10, stl10, imagenet2012.",
)
_DATA_DIR = definitions.path(
    "data_dir",
    None,
    "Where TensorFlow data sets are stored. By default TFDS's own place, "
    "~/tensorflow_datasets.",
)
_DOWNLOAD = definitions.switch(
    "download",
    False,
    "Download a TensorFlow data set that is not in --data_dir. Without it a "
    "missing one is an error at once.",
)
_TRAIN_SPLIT = definitions.text(
    "train_split",
    None,
    "Split to pretrain on; of TensorFlow data sets also slices (train[:90%]) "
    "and sums (train+unlabelled). By default the unlabelled one if there is "
    "one, else train.",
)
_EVAL_SPLIT = definitions.text(
    "eval_split",
    None,
    "Split on which accuracy is measured. By default test, else validation, "
    "else a fifth that is put aside and not trained on.",
)
_MAX_SKIPPED = definitions.number(
    "max_skipped",
    0.1,
    "Share of the image files of a folder or list that may be damaged, "
    "missing or of an unknown format. Up to it they are named and left out; "
    "above it the run does not start.",
    minimum=0.0,
    maximum=1.0,
)
_CACHE_DATASET = definitions.switch(
    "cache_dataset",
    False,
    "Keep a data set that is read from disk in memory after the first "
    "epoch. Small ones always are.",
)
_IMAGE_SIZE = definitions.integer(
    "image_size",
    224,
    "Height and width of the images the encoder sees, in pixels. Paper: "
    "224 for ImageNet, 32 for CIFAR-10. Up to 32, tests see the whole image "
    "instead of its central 87.5 %.",
    minimum=8,
)


def source():
    """Arguments of `simclr_keras.data.open_source`."""
    return {
        "dataset": _DATASET.value,
        "data_dir": _DATA_DIR.value,
        "train_split": _TRAIN_SPLIT.value,
        "eval_split": _EVAL_SPLIT.value,
        "download": _DOWNLOAD.value,
        "seed": run.seed(),
        "max_skipped": _MAX_SKIPPED.value,
    }


def is_path(dataset):
    """Whether a value of `--dataset` is spelt as a path.

    TFDS names may hold a slash too: imagenet2012_subset/1pct.
    """
    return dataset.startswith(("/", ".")) or dataset.endswith(_FILES)


def image_size():
    """Height and width of the encoder's input, in pixels."""
    return _IMAGE_SIZE.value
