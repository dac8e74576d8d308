"""What clients of a served model rely on, kept from version to version.

Needs no TensorFlow.
"""

import json
import pathlib

from simclr_keras.export import versions


def check(path, metadata):
    """Refuses a new version that would break what is served from its folder.

    A server that watches the folder takes the new version at once, and every
    client with it. So it must answer all that the highest version there
    answers: the same signatures, inputs and outputs, with the same widths and
    classes. It may answer more.

    Args:
        path: pathlib.Path of the new version.
        metadata: dict, of the new version.

    Raises:
        ValueError: if something is missing or different; if the highest
            version was not written by this package, or is above the new one,
            which no server would take then.
    """
    served = versions.highest(path.parent)
    if served is None:
        return
    problem = _problem(path, served, metadata)
    if problem is not None:
        raise ValueError(
            f"`path` must not break the model served from {path.parent}: "
            f"{problem}. Export to another folder. Received: path={path}"
        )


def _problem(path, served, metadata):
    if int(served.name) > int(path.name):
        return f"version {served.name} is higher, and would be served on"
    try:
        text = (served / versions.METADATA).read_text(encoding="utf-8")
        before = json.loads(text)
        signatures = before["signatures"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"version {served.name} is another kind of model"
    for name, signature in signatures.items():
        for side in ("inputs", "outputs"):
            for key, field in signature[side].items():
                now = metadata["signatures"].get(name, {}).get(side, {})
                if now.get(key) != field:
                    return (
                        f"version {served.name} has {_text(name, key, field)}, "
                        f"the new one has {_text(name, key, now.get(key))}"
                    )
    names = before.get("class_names")
    if names is not None and names != metadata["class_names"]:
        return f"its classes are not those of version {served.name}"
    return None


def _text(signature, key, field):
    if field is None:
        return f"no {key} in {signature}"
    shape = ", ".join(map(str, field["shape"]))
    return f"{key} {field['dtype']} [{shape}] in {signature}"


def check_location(path):
    """Refuses a place inside a SavedModel, which a server may have loaded.

    Args:
        path: str or pathlib.Path, of the folder of versions.

    Raises:
        ValueError: if `path` or a folder above it is a SavedModel.
    """
    folder = pathlib.Path(path).absolute()
    for parent in (folder, *folder.parents):
        if (parent / "saved_model.pb").exists():
            raise ValueError(
                "`path` must not lie inside a SavedModel, as "
                f"{parent} is. Received: path={path}"
            )
