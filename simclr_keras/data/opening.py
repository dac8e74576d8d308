"""From what `--dataset` says to a `Source`."""

import os
import re

from simclr_keras.data import arrays
from simclr_keras.data import embedded
from simclr_keras.data import file_list
from simclr_keras.data import folder
from simclr_keras.data import idx
from simclr_keras.data import image_files
from simclr_keras.data import tfds

_TAKES = (
    "`dataset` must be digits, a name of TensorFlow Datasets (cifar10, stl10, "
    "imagenet2012, ...), a folder of images, a list of images (.txt, .csv), a "
    ".npz file with x_train, or a folder of IDX files "
    "(train-images-idx3-ubyte.gz, ...)"
)
# name, name/config, name:version, name/config:version.
_NAME = re.compile(r"\w+(/[\w.+-]+)?(:[\w.*]+)?")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def open_source(
    dataset,
    *,
    data_dir=None,
    train_split=None,
    eval_split=None,
    download=False,
    seed=0,
    max_skipped=0.1,
    whole=False,
):
    """Finds a data set and says what it holds; most images are read later.

    A path that exists comes before a name of TensorFlow Datasets, unless
    `data_dir` is given; ./digits is a path, digits is not.

    Args:
        dataset: `digits`; a name of TensorFlow Datasets, also in the forms
            `name/config` and `name:version`; or the path of a folder of
            images, of a list of images (`file_list.from_list`), of a folder
            of IDX files or of a `.npz` file.
        data_dir: folder of prepared TensorFlow Datasets; None for their
            default, `~/tensorflow_datasets`.
        train_split: name of the split to pretrain on; by default the
            unlabelled one if there is one, else `train`.
        eval_split: name of the split to test on; by default `test`, else
            `validation`. Where neither has labels, a fifth of the train
            split is put aside.
        download: whether a TensorFlow data set that is not in `data_dir` is
            downloaded and prepared. If not, the network is never touched.
        seed: int, of what is put aside from files and folders.
        max_skipped: float in [0, 1], the share of a folder's or a list's
            image files that may be unusable; they are left out.
        whole: bool, whether the images are to be read rather than trained on:
            `Source.named` then holds all of them, none put aside, and copies
            are not counted.

    Returns:
        `Source`.

    Raises:
        ValueError: if there is no such data set, or it cannot be used.
        RuntimeError: if it cannot be downloaded.
    """
    if not dataset or not dataset.strip():
        raise ValueError(f"{_TAKES}. Received: dataset={dataset!r}")
    splits = {
        "train_split": train_split,
        "eval_split": eval_split,
        "whole": whole,
    }
    path = os.path.expanduser(dataset)
    is_path = os.path.exists(path) and dataset != "digits"
    is_name = _NAME.fullmatch(dataset) and dataset != "digits"
    if is_name and (data_dir or not is_path):
        return tfds.from_tfds(
            dataset, data_dir=data_dir, download=download, **splits
        )
    if data_dir:
        raise ValueError(
            "`data_dir` is for names of TensorFlow Datasets. "
            f"Received: data_dir={data_dir!r} with dataset={dataset!r}"
        )
    if dataset == "digits":
        return embedded.digits(**splits)
    if not is_path:
        raise ValueError(
            f"{_TAKES}. Received: dataset={dataset!r}, and there is no "
            f"{os.path.abspath(path)}"
        )
    opened = _folder if os.path.isdir(path) else _file
    try:
        return opened(path, max_skipped, seed=seed, **splits)
    except OSError as error:
        raise ValueError(
            f"`dataset` must be readable. Received: {path} ({error.strerror})"
        ) from error


def _folder(path, max_skipped, **kwargs):
    if os.path.isfile(os.path.join(path, "dataset_info.json")):
        raise ValueError(
            "`dataset` must be the name of a prepared TensorFlow data set, "
            "with `data_dir` the folder above its name. "
            f"Received: the folder of one, dataset={path!r}"
        )
    if idx.find(path):
        return idx.from_idx(path, **kwargs)
    return folder.from_folder(path, max_skipped=max_skipped, **kwargs)


def _file(path, max_skipped, **kwargs):
    if path.lower().endswith(".npz"):
        return arrays.from_npz(path, **kwargs)
    if path.lower().endswith(file_list.EXTENSIONS):
        return file_list.from_list(path, max_skipped=max_skipped, **kwargs)
    raise ValueError(f"{_TAKES}. Received: the file {path}{_advice(path)}")


def _advice(path):
    extension = os.path.splitext(path)[1].lower()
    if extension in image_files.EXTENSIONS or "-ubyte" in path:
        return "; name the folder it lies in"
    if extension in _ARCHIVES:
        return "; unpack it and name the folder"
    if extension == ".npy":
        return "; np.savez(file, x_train=images) writes a .npz file"
    return ""
