"""The embeddings of many images, in one file; goes on where it was ended."""

import os
import sys
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

import simclr_keras
from simclr_keras.embedding import files
from simclr_keras.embedding.unfinished import Unfinished

# What is lost if the process is killed: this many images or seconds.
_APPEND_IMAGES = 4096
_APPEND_SECONDS = 60
# Rows that are written at a time; files have traces of that.
_CHUNK = 4096
_DAMAGED, _REFUSED, _UNREADABLE, _INFINITE = 1, 2, 3, 4
_REASONS = np.array(
    [
        "",
        "damaged or cut off",
        "damaged, cut off or too large for the SavedModel",
        "cannot be read",
        "the embedding is not finite",
    ]
)
# At a time. More are no bad files but a disk that is gone.
_MOST_UNREADABLE = 100
_LOG_SECONDS = 30


class Summary(NamedTuple):
    """What `run` did.

    Attributes:
        num_images: rows of the file, with and without an embedding.
        num_before: images that an earlier run had embedded.
        seconds: what embedding the others took.
        bad: (path, reason) of images without an embedding.
    """

    num_images: int
    num_before: int
    seconds: float
    bad: list[tuple[str, str]]


def run(encoder, images, output, *, batch_size=128, overwrite=False):
    """Embeds all images and writes them, in their order, to one file.

    Until it is whole the file does not exist; what is done so far lies in a
    folder of its name with `.parts` behind. If the process ends before its
    time, the same call goes on and gives the same file, bit for bit.

    Args:
        encoder: as `load` gives it.
        images: `Images`.
        output: path that ends in .parquet, .npz or .csv. Columns are those
            of `files`; images that cannot be decoded are not valid there.
        batch_size: B.
        overwrite: bool, whether a file of this name, and parts of other
            settings, are replaced.

    Returns:
        `Summary`.

    Raises:
        ValueError: for another ending; if the file exists, or parts of it
            that were made with other settings.
        OSError: if it cannot be written, or images can no longer be read.
    """
    check_output(output, overwrite)
    unfinished = Unfinished(output, encoder.num_features)
    try:
        unfinished.begin(_settings(encoder, images), overwrite)
        num_before, start = unfinished.num_rows, time.monotonic()
        for rows in _embedded(encoder, images, unfinished, batch_size):
            unfinished.append(rows)
        seconds = time.monotonic() - start
        bad = [*_bad(images, unfinished), *images.skipped]
        _write(encoder, images, unfinished, output, len(bad))
    finally:
        unfinished.release()
    unfinished.delete()
    num_images = images.num_images + len(images.skipped)
    return Summary(num_images, num_before, seconds, bad)


def check_output(output, overwrite=False):
    """Raises ValueError unless a file of this name may be written."""
    if os.path.splitext(output)[1].lower() not in files.EXTENSIONS:
        raise ValueError(
            f"`output` must end in {', '.join(files.EXTENSIONS)}. "
            f"Received: output={output}"
        )
    if os.path.isdir(output) or (os.path.exists(output) and not overwrite):
        raise ValueError(
            "`output` must not exist, unless `overwrite` is given and it is a "
            f"file. Received: output={output}"
        )


def _settings(encoder, images):
    """What decides on the embeddings, as a JSON-serialisable dict."""
    return {
        "encoder": encoder.digest,
        "image_size": list(encoder.image_size),
        "num_features": encoder.num_features,
        "images": images.source.origin,
        "fingerprint": images.source.fingerprint,
        "splits": list(images.split_names),
        "num_images": images.num_images,
    }


def _embedded(encoder, images, unfinished, batch_size):
    """Yields the rows that are missing, some at a time."""
    start = unfinished.num_rows
    if start == images.num_images:
        return
    found, begin = [], time.monotonic()
    with _progress(images.num_images, start) as progress:
        for numbers, labels, batch in _batches(
            encoder, images, start, batch_size
        ):
            outputs = _outputs(encoder, batch)
            found.append((numbers.numpy(), labels.numpy(), *outputs))
            stop = int(found[-1][0][-1]) + 1
            progress.update(stop - progress.n)
            late = time.monotonic() - begin > _APPEND_SECONDS
            if late or stop - start >= _APPEND_IMAGES:
                yield _rows(encoder, images, start, stop, found, unfinished)
                start, found, begin = stop, [], time.monotonic()
        if start < images.num_images:
            stop = images.num_images
            yield _rows(encoder, images, start, stop, found, unfinished)
            progress.update(stop - progress.n)


def _batches(encoder, images, start, batch_size):
    try:
        yield from images.batches(start, encoder.prepare, batch_size)
    except tf.errors.OpError as error:
        raise OSError(
            f"{images.source.origin} can no longer be read: {error.message}"
        ) from error


def _outputs(encoder, batch):
    try:
        return encoder(batch)
    except tf.errors.ResourceExhaustedError as error:
        raise RuntimeError(
            f"out of memory with {len(batch)} images at a time; choose a "
            "smaller `batch_size`"
        ) from error


def _progress(total, done):
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return tqdm.tqdm(
        total=total,
        initial=done,
        desc="embed",
        unit=" images",
        mininterval=0.1 if on_terminal else _LOG_SECONDS,
        delay=0 if on_terminal else _LOG_SECONDS,
    )


def _rows(encoder, images, start, stop, found, unfinished):
    """The rows of images, from what came out; the others are tried again."""
    rows = np.zeros(stop - start, unfinished.dtype)
    rows["label"] = images.labels(start, stop)
    missing = np.ones(stop - start, bool)
    for numbers, labels, embeddings, valid in found:
        places = numbers - start
        rows["label"][places] = labels
        rows["embedding"][places] = embeddings
        missing[places] = ~valid
    for place in np.flatnonzero(missing):
        rows["embedding"][place], rows["reason"][place] = _again(
            encoder, images, start + int(place)
        )
    _check_readable(rows)
    infinite = ~np.isfinite(rows["embedding"]).all(axis=1)
    rows["embedding"][infinite], rows["reason"][infinite] = 0, _INFINITE
    return rows


def _again(encoder, images, number):
    """(embedding, 0), or (0, number of the reason)."""
    try:
        image = encoder.prepare(images.read(number))
        values, valid = encoder(image[None])
    except tf.errors.InvalidArgumentError:
        return 0, _DAMAGED
    except tf.errors.OpError:
        return 0, _UNREADABLE
    return (values[0], 0) if valid[0] else (0, _REFUSED)


def _check_readable(rows):
    unreadable = int((rows["reason"] == _UNREADABLE).sum())
    if unreadable > _MOST_UNREADABLE:
        raise OSError(
            f"{unreadable:,} images can no longer be read; is their disk "
            "still there?"
        )


def _bad(images, unfinished):
    """Yields (path, reason)."""
    for start, rows in unfinished.chunks(_CHUNK):
        for place in np.flatnonzero(rows["reason"]).tolist():
            [path] = images.paths(start + place, start + place + 1)
            yield path, str(_REASONS[rows["reason"][place]])


def _write(encoder, images, unfinished, output, num_bad):
    """The output file, under its name once it is whole."""
    ending = os.path.splitext(output)[1]
    temporary = unfinished.folder / f"whole{ending}"
    try:
        files.write(
            temporary,
            lambda: _chunks(images, unfinished),
            class_names=images.source.class_names,
            num_features=encoder.num_features,
            metadata=_metadata(encoder, images, num_bad),
        )
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


def _chunks(images, unfinished):
    """Yields `files.Rows`: of all images, then of skipped files."""
    names = images.source.class_names
    for start, rows in unfinished.chunks(_CHUNK):
        yield files.Rows(
            np.array(images.paths(start, start + len(rows))),
            rows["label"],
            names and np.array(names)[rows["label"]],
            _REASONS[rows["reason"]],
            rows["embedding"],
        )
    for start in range(0, len(images.skipped), _CHUNK):
        skipped = images.skipped[start : start + _CHUNK]
        paths, reasons = zip(*skipped, strict=True)
        blank = np.zeros(len(skipped), unfinished.dtype)
        yield files.Rows(
            np.array(paths),
            blank["label"] - 1,
            names and np.full(len(skipped), ""),
            np.array(reasons),
            blank["embedding"],
        )


def _metadata(encoder, images, num_bad):
    return {
        **_settings(encoder, images),
        "encoder_path": str(encoder.path),
        "num_bad": num_bad,
        "versions": {
            "simclr_keras": simclr_keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
