"""`python -m simclr_keras.export.embed`, also installed as `simclr-embed`."""

import errno
import os
import pathlib
import re

from simclr_keras import data
from simclr_keras import embedding
from simclr_keras.flags import embed_cli

_SHOWN = 20
_FLAGS = ("batch_size", "data_dir", "encoder", "image_size", "output", "split")


def main(argv=None):
    """Embeds or searches; exits with 2 on a mistake, with 1 on a failure."""
    values = embed_cli.parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # As train.py does; CPUs without AVX-512 are three times slower otherwise.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        _check_output("html", values["html"], values["overwrite"])
        if values["embeddings"] is None:
            images, path = _embed(values), values["output"]
        else:
            images, path = None, values["embeddings"]
            if not os.path.isfile(path):
                embed_cli.refuse(f"--embeddings={path}: there is no such file")
        if values["nearest"] is not None:
            _search(values, path, images)
    except ValueError as error:
        embed_cli.refuse(_as_flags(error))
    except (OSError, RuntimeError) as error:
        embed_cli.fail(_failure(error, values["output"]))
    except KeyboardInterrupt:
        embed_cli.fail("stopped. The same command goes on from here")


def cli():
    """Entry point of the console script."""
    main()


def _embed(values):
    output, encoder = values["output"], values["encoder"]
    # First what can be answered without waiting for TensorFlow.
    _check_output("output", output, values["overwrite"])
    if problem := embedding.what_is_wrong(pathlib.Path(encoder).absolute()):
        embed_cli.refuse(
            "--encoder: must be a run's directory, a .keras file, one version "
            "of a SavedModel of simclr-export or a checkpoint of "
            f"google-research/simclr. Received: {encoder}, {problem}"
        )
    source = data.open_source(
        values["images"],
        data_dir=values["data_dir"],
        max_skipped=1.0,
        whole=True,
    )
    images = embedding.Images(source, values["split"])
    print(f"{source.origin}: {images.num_images:,} images, {source.sizes}")
    for note in source.notes:
        print(f"  note: {note}")
    encoder = embedding.load(encoder, values["image_size"])
    summary = embedding.run(
        encoder,
        images,
        output,
        batch_size=values["batch_size"],
        overwrite=values["overwrite"],
    )
    print(_report(output, summary, encoder.num_features))
    return images


def _check_output(flag, path, overwrite):
    """Refuses what could not be written in the end."""
    if path is None:
        return
    if os.path.isdir(path):
        embed_cli.refuse(f"--{flag}={path}: is a folder")
    if os.path.exists(path) and not overwrite:
        embed_cli.refuse(f"--{flag}={path}: exists; --overwrite replaces it")
    folder = pathlib.Path(path).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        embed_cli.refuse(f"--{flag}={path}: {folder}: {error.strerror}")
    if not os.access(folder, os.W_OK | os.X_OK):
        embed_cli.refuse(f"--{flag}={path}: {folder} cannot be written to")


def _report(output, summary, num_features):
    good = summary.num_images - len(summary.bad)
    size = os.path.getsize(output) / 1e6
    lines = [
        f"Wrote {output} ({size:,.1f} MB): {good:,} embeddings of "
        f"{num_features} numbers."
    ]
    if summary.num_before:
        lines.append(
            f"{summary.num_before:,} were there from an earlier start."
        )
    if summary.bad:
        lines.append(
            f"{len(summary.bad):,} without an embedding; the file says so in "
            "`valid` and `error`:"
        )
    lines += [
        f"  {_printable(path)}: {reason}"
        for path, reason in summary.bad[:_SHOWN]
    ]
    if len(summary.bad) > _SHOWN:
        lines.append(f"  and {len(summary.bad) - _SHOWN:,} more")
    return "\n".join(lines)


def _search(values, path, images):
    query, k = values["nearest"], values["k"]
    found = embedding.embedding_of(query, embedding.read(path))
    if found is None:
        name, without = os.path.abspath(query), None
        vector = _query(values, path)
    else:
        name, vector = found
        without = name
    neighbors = embedding.nearest(
        vector, embedding.read(path), k, without=without
    )
    for neighbor in neighbors:
        shown = f"{_printable(neighbor.path)}  {neighbor.class_name}".rstrip()
        print(f"{neighbor.similarity:7.4f}  {shown}")
    if values["html"] is not None:
        embedding.write_page(
            values["html"],
            name,
            neighbors,
            embeddings=os.path.basename(path),
            read=lambda shown: _picture(shown, images),
        )
        print(f"Wrote {values['html']}.")


def _query(values, path):
    """The embedding of an image file that is not in the embeddings."""
    query = values["nearest"]
    if not os.path.isfile(query):
        embed_cli.refuse(
            f"--nearest={query}: there is no such file, nor such a path in "
            f"{path}"
        )
    metadata = embedding.read_metadata(path)
    encoder_path = values["encoder"] or metadata.get("encoder_path")
    if encoder_path is None:
        embed_cli.refuse(
            f"--nearest={query}: is not in {path}, and a .csv file does not "
            "tell the encoder; give --encoder"
        )
    size = values["image_size"] or metadata.get("image_size")
    encoder = embedding.load(encoder_path, size)
    if metadata.get("encoder", encoder.digest) != encoder.digest:
        embed_cli.refuse(
            f"--encoder={encoder_path}: is not the one that made {path}"
        )
    return embedding.embed_file(encoder, query)


def _picture(path, images):
    import tensorflow as tf

    if os.path.isfile(path):
        return tf.io.read_file(path)
    number = None if images is None else images.number(path)
    return None if number is None else images.read(number)


def _printable(path):
    """Names may hold line breaks, and what commands a terminal."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in path
    )


def _failure(error, output):
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full. What is done lies in {output}.parts; make "
            "room, and the same command goes on from there"
        )
    if getattr(error, "filename", None) is not None:
        return f"{error.filename}: {error.strerror}"
    return _as_flags(error)


def _as_flags(error):
    """One line, with arguments of the library as the flags they come from."""
    text = " ".join(str(error).split()).replace("`dataset`", "--images")
    return re.sub(f"`({'|'.join(_FLAGS)})`", r"--\1", text)


if __name__ == "__main__":
    main()
