"""`python -m simclr_keras.export`, also installed as `simclr-export`."""

import json
import os
import pathlib
import zipfile

from simclr_keras import conversion
from simclr_keras.export import contract
from simclr_keras.export import provenance
from simclr_keras.export import versions
from simclr_keras.flags import export_cli


def main(argv=None):
    """Exports what the command line names; exits with code 2 on a mistake."""
    values = export_cli.parse(argv)
    values["linear_probe"] = _existing("linear_probe", values["linear_probe"])
    if values["model_dir"] is None:
        values["encoder"] = _encoder(values["encoder"])
    else:
        _fill_in(values, pathlib.Path(values["model_dir"]))
    selector = values["ft_proj_selector"]
    if selector is not None and _is_keras_file(values["encoder"]):
        export_cli.refuse("--ft_proj_selector: only for Google's checkpoints")
    path = _version(values["output"])
    _export(values, path)
    print(_report(values["encoder"], path))
    deleted = versions.prune_versions(path.parent, values["keep_versions"] or 0)
    if deleted:
        print(f"Deleted version {', '.join(old.name for old in deleted)}.")


def cli():
    """Entry point of the console script."""
    main()


def _fill_in(values, run):
    """What a run has for the flags that were not given."""
    if not run.is_dir():
        export_cli.refuse(f"--model_dir={run}: no such directory")
    encoder = _existing("model_dir", run / "encoder.keras")
    if not _is_keras_file(encoder):
        export_cli.refuse(f"--model_dir: {encoder} is no .keras file")
    found = {"encoder": encoder, "output": run / "saved_model"}
    if (run / "linear_probe.npz").is_file():
        found["linear_probe"] = run / "linear_probe.npz"
    for name, value in found.items():
        values[name] = values[name] or value
    if values["image_size"] is None:
        values["image_size"] = _image_size(run / "config.json")


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
        output = versions.next_version(output)
    try:
        contract.check_location(output)
    except ValueError as error:
        export_cli.refuse(f"--output={output}: {error}")
    try:
        return versions.check_new(output)
    except ValueError:
        following = versions.next_version(pathlib.Path(output).parent)
        export_cli.refuse(
            f"--output={output} exists and is not overwritten; "
            f"the next free version is {following}"
        )


def _export(values, path):
    # Only now: what is wrong with the flags is answered without waiting.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from simclr_keras.export import loading
    from simclr_keras.export import saved_model

    source, image_size = values["encoder"], values["image_size"]
    try:
        if values["linear_probe"] is None:
            found = loading.load_classifier(values["model_dir"])
        else:
            found = loading.load_probe(values["linear_probe"])
        classifier, class_names = found
        if _is_keras_file(source):
            encoder = loading.load_encoder(source)
        else:
            encoder, supervised, recognised = loading.load_google(
                source, image_size, values["ft_proj_selector"] or 0
            )
            classifier = supervised if classifier is None else classifier
            print(f"Read {recognised}.")
        saved_model.export_saved_model(
            encoder,
            path,
            image_size=image_size,
            classifier=classifier,
            projection_head=loading.load_projection_head(values["model_dir"]),
            class_names=class_names,
            serving_precision=values["serving_precision"],
            provenance=_provenance(values["model_dir"]),
        )
    except (OSError, TypeError, ValueError) as error:
        export_cli.refuse(f"cannot export {source}: {error}")


def _provenance(run):
    return {} if run is None else provenance.of_run(run)


def _report(encoder_path, path):
    size = sum(file.stat().st_size for file in path.rglob("*"))
    folder = path.parent.resolve()
    return f"""\
Wrote {path} ({size / 1e6:.1f} MB) from {encoder_path}. It answers:
{versions.describe(path)}
{_warmup(path)}
Try it on an image:
  python -c "import sys, tensorflow as tf; \\
    model = tf.saved_model.load('{path}'); \\
    files = tf.constant([open(name, 'rb').read() for name in sys.argv[1:]]); \\
    print(model.signatures['serving_default'](image_bytes=files))" IMAGE.jpg

Serve it with TensorFlow Serving:
  docker run -p 8501:8501 -e MODEL_NAME=encoder \\
    -v "{folder}:/models/encoder" tensorflow/serving"""


def _warmup(path):
    if (path / versions.WARMUP).is_file():
        return ""
    return (
        "\nWithout warm-up requests: the server's first answers will be slow. "
        "With\n`pip install 'simclr-keras[serving]'` they are written.\n"
    )


if __name__ == "__main__":
    main()
