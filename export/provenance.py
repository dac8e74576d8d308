"""Where an exported encoder comes from, as far as its run tells."""

import json
import os
import pathlib

from simclr_keras import run_files


def of_run(model_dir: str | os.PathLike) -> dict:
    """What `config.json` and `results.json` of a run say; needs no TensorFlow.

    Args:
        model_dir: directory of a run of train.py.

    Returns:
        JSON-serialisable dict, as `export_saved_model` takes it; empty where
        nothing is known:
        `dataset`: name, fingerprint, number of examples and of classes.
        `recipe`: name, and `settings`: flag -> value, where it was not left at
            its default; without --model_dir.
        `environment`: versions, git revision and machine of the training.
        `results`: evaluation -> its protocol and accuracies of what is
            exported: encoder, fine-tuned network or student.
    """
    config = _read(pathlib.Path(model_dir, "config.json"))
    results = _read(pathlib.Path(model_dir, "results.json"))
    return from_config(config, results)


def from_config(config: dict, results: dict) -> dict:
    """The same from the contents of the two files; either may be empty."""
    flags, origins = config.get("flags", {}), config.get("origins", {})
    rows = results.get("representations", {})
    found = {
        "dataset": config.get("dataset"),
        "recipe": config.get("recipe"),
        "settings": {
            name: flags[name]
            for name, origin in origins.items()
            if origin != "default" and name in flags and name != "model_dir"
        },
        "environment": config.get("environment"),
        "results": rows.get(run_files.own_representation(rows)),
    }
    return {name: value for name, value in found.items() if value}


def _read(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
