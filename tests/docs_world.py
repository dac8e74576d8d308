"""The folder in which the commands and examples of the pages run.

It holds the files that they speak of, as small as can be: images of 8 pixels,
and an encoder, or a run of two steps.
"""

import shutil

import keras
import matplotlib.image
import numpy as np
import tensorflow as tf

import simclr_keras
from tests import google_checkpoints
from tests.data import idx_test

SIZE, NUM_IMAGES = 8, 32
# Where a command of train.py says something else, these prevail.
_SMALL = (
    "--train_steps=2",
    "--train_batch_size=8",
    f"--image_size={SIZE}",
    "--resnet_depth=18",
    "--width_multiplier=0.125",
    "--sk_ratio=0",
    "--stem=cifar",
    "--nouse_blur",
    # Of the run that is there already.
    "--overwrite",
)


def build(folder):
    """Writes all files but those that a run leaves."""
    images, labels = _images()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "photos" / ("cat", "dog")[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        matplotlib.image.imsave(path, image)
    paths = sorted((folder / "photos").rglob("*.png"))
    (folder / "photos.csv").write_text(
        "".join(
            f"{path.relative_to(folder)},{path.parent.name}\n" for path in paths
        )
    )
    (folder / "image.jpg").write_bytes(jpeg())
    np.savez(
        folder / "images.npz",
        x_train=images,
        y_train=labels,
        x_test=images[:8],
        y_test=labels[:8],
    )
    for path in ("fashion-mnist", "usr/share/datasets/fashion-mnist"):
        (folder / path).mkdir(parents=True)
        for part, first in (("train", 0), ("t10k", 8)):
            files = (
                ("images-idx3", images[first:, ..., 0]),
                ("labels-idx1", np.uint8(labels[first:])),
            )
            for kind, values in files:
                idx_test.write(folder / path, f"{part}-{kind}-ubyte", values)
    (folder / "tfds").mkdir()
    for run in ("digits", "digits_teacher", "cifar10", "cifar10_finetune"):
        (folder / "runs" / run).mkdir(parents=True)


def add_encoder(folder):
    """Writes an encoder, and what a run exports of it."""
    encoder = simclr_keras.resnet(18, 1 / 16, stem="cifar", image_size=SIZE)
    simclr_keras.save_encoder(encoder, folder / "encoder.keras")
    simclr_keras.export.export_saved_model(
        encoder, folder / "runs" / "photos" / "saved_model" / "1", image_size=8
    )


def add_run(folder):
    """Puts what the run `runs/digits` left in the places of all others."""
    run = folder / "runs" / "digits"
    shutil.copytree(run, folder / "runs" / "photos")
    shutil.copyfile(run / "encoder.keras", folder / "encoder.keras")


def google_checkpoint(folder):
    """A ResNet-18 in the place of the ResNet-50 that a page speaks of."""
    google_checkpoints.write_saved_model(
        google_checkpoints.tiny(), folder / "r50_1x_sk0" / "saved_model"
    )


def names():
    """The variables that a page may use without having made them."""
    images, labels = _images()
    images, labels = images[:8], labels[:8]
    return {
        "keras": keras,
        "np": np,
        "simclr_keras": simclr_keras,
        "tf": tf,
        "dataset": tf.data.Dataset.from_tensor_slices((images, labels)).batch(
            8, drop_remainder=True
        ),
        "images": np.float32(images / 255),
        "jpeg_bytes": jpeg(),
        "labels": labels,
        "uint8_images": images,
    }


def jpeg():
    """A small file."""
    return tf.io.encode_jpeg(_images()[0][0]).numpy()


def smaller(program, arguments, folder):
    """The arguments of a command, changed so that it takes seconds."""
    if program == "simclr-train":
        file = folder / "as_written.flags"
        file.write_text("\n".join(arguments))
        small = list(_SMALL)
        if any(word.startswith("--micro_batch_size=") for word in arguments):
            small.append("--micro_batch_size=4")
        return [f"--flagfile={file}", *small]
    return [
        f"--image_size={SIZE}" if word.startswith("--image_size=") else word
        for word in arguments
    ]


def _images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [NUM_IMAGES, SIZE, SIZE, 3], np.uint8)
    return images, np.arange(NUM_IMAGES) % 2
