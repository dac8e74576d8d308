"""What holds an encoder, told without TensorFlow."""

import zipfile

from simclr_keras import conversion


def what_is_wrong(path):
    """Why there is no encoder at a path.

    Returns:
        The end of a sentence; None if there seems to be one.
    """
    if is_served(path) or keras_file(path):
        return None
    return conversion.search(path)[1]


def is_served(path):
    """Whether it is one version of a SavedModel of simclr-export."""
    names = ("saved_model.pb", "metadata.json")
    return all((path / name).is_file() for name in names)


def keras_file(path):
    """The .keras file at a path or in a run's directory; else None."""
    if (path / "encoder.keras").is_file():
        return path / "encoder.keras"
    return path if path.is_file() and zipfile.is_zipfile(path) else None
