"""`python -m simclr_keras.export`, also installed as `simclr-export`."""

import json
import os
import pathlib
import zipfile

from simclr_keras import conversion
from simclr_keras.export import versions
from simclr_keras.flags import export_cli


def main(argv=None):
    """Exports what the command line names; exits with code 2 on a mistake."""
    values = export_cli.parse(argv)
    probe = _existing("linear_probe", values["linear_probe"])
    image_size, output = values["image_size"], values["output"]
    if values["model_dir"] is None:
        encoder = _encoder(values["encoder"])
    else:
        run = pathlib.Path(values["model_dir"])
        if not run.is_dir():
            export_cli.refuse(f"--model_dir={run}: no such directory")
        encoder = _existing("model_dir", run / "encoder.keras")
        if not _is_keras_file(encoder):
            export_cli.refuse(f"--model_dir: {encoder} is no .keras file")
        image_size = image_size or _image_size(run / "config.json")
        output = output or run / "saved_model"
        if probe is None and (run / "linear_probe.npz").is_file():
            probe = run / "linear_probe.npz"
    selector = values["ft_proj_selector"]
    if selector is not None and _is_keras_file(encoder):
        export_cli.refuse("--ft_proj_selector: only for Google's checkpoints")
    _export(encoder, probe, image_size, _version(output), selector)


def cli():
    """Entry point of the console script."""
    main()


def _existing(flag, path):
    if path is None:
        return None
    path = pathlib.Path(path)
    if not path.is_file():
        export_cli.refuse(f"--{flag}: there is no file {path}")
    return path


def _encoder(path):
    """A .keras file, or a checkpoint of google-research/simclr."""
    if _is_keras_file(path):
        return pathlib.Path(path)
    _, problem = conversion.search(path)
    if problem is not None:
        export_cli.refuse(
            "--encoder: must be a .keras file or a checkpoint of "
            f"google-research/simclr. Received: {path}, {problem}"
        )
    return path


def _is_keras_file(path):
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "config.json" in archive.namelist()


def _image_size(config):
    try:
        text = config.read_text(encoding="utf-8")
        return int(json.loads(text)["flags"]["image_size"])
    except (OSError, ValueError, KeyError, TypeError):
        export_cli.refuse(
            f"--model_dir: {config} does not tell the image size; "
            "give --image_size"
        )


def _version(output):
    if not versions.is_version(output):
        output = pathlib.Path(output)
        if output.exists() and not output.is_dir():
            export_cli.refuse(f"--output={output}: not a directory")
        return versions.next_version(output)
    try:
        return versions.check_new(output)
    except ValueError:
        following = versions.next_version(pathlib.Path(output).parent)
        export_cli.refuse(
            f"--output={output} exists and is not overwritten; "
            f"the next free version is {following}"
        )


def _export(encoder_path, probe_path, image_size, path, ft_proj_selector):
    # Only now: what is wrong with the flags is answered without waiting.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from simclr_keras.export import loading
    from simclr_keras.export import saved_model

    try:
        classifier, class_names = loading.load_probe(probe_path)
        if _is_keras_file(encoder_path):
            encoder = loading.load_encoder(encoder_path)
        else:
            encoder, supervised, recognised = loading.load_google(
                encoder_path, image_size, ft_proj_selector or 0
            )
            classifier = supervised if classifier is None else classifier
            print(f"Read {recognised}.")
        saved_model.export_saved_model(
            encoder,
            path,
            image_size=image_size,
            classifier=classifier,
            class_names=class_names,
        )
    except (OSError, TypeError, ValueError) as error:
        export_cli.refuse(f"cannot export {encoder_path}: {error}")
    print(_report(encoder_path, path))


def _report(encoder_path, path):
    size = sum(file.stat().st_size for file in path.rglob("*"))
    folder = path.parent.resolve()
    return f"""\
Wrote {path} ({size / 1e6:.1f} MB) from {encoder_path}. It answers:
{versions.describe(path)}

Try it on an image:
  python -c "import sys, tensorflow as tf; \\
    model = tf.saved_model.load('{path}'); \\
    files = tf.constant([open(name, 'rb').read() for name in sys.argv[1:]]); \\
    print(model.signatures['serving_default'](image_bytes=files))" IMAGE.jpg

Serve it with TensorFlow Serving:
  docker run -p 8501:8501 -e MODEL_NAME=encoder \\
    -v "{folder}:/models/encoder" tensorflow/serving"""


if __name__ == "__main__":
    main()
