"""Weights of another run as the start of a new one."""

import pathlib
import typing

from simclr_keras import checkpoints
from simclr_keras import conversion
from simclr_keras import training_state


class Taken(typing.NamedTuple):
    """Paths of a model's weights: taken over, and skipped with the reason."""

    taken: list[str]
    skipped: dict[str, str]

    def __str__(self):
        parts = [f"{len(self.taken)} of {len(self.taken) + len(self.skipped)}"]
        for reason in dict.fromkeys(self.skipped.values()):
            paths = [p for p, why in self.skipped.items() if why == reason]
            layers = dict.fromkeys(path.rpartition("/")[0] for path in paths)
            parts.append(f"not {', '.join(layers)} ({reason})")
        return "weights taken: " + "; ".join(parts)


def init_from(model, path):
    """Gives a model the weights of another one, where names and shapes agree.

    Optimizer, step and metrics stay those of a new run.

    Args:
        model: `SimCLR`.
        path: a `.keras` file of an encoder; or the `model_dir` of a run, of
            which the newest whole checkpoint is taken, else its
            `encoder.keras`; or one folder `step_<n>` of its checkpoints; or
            a checkpoint of google-research/simclr, as
            `conversion.from_google` takes it, with the model's encoder.

    Returns:
        `Taken`.

    Raises:
        ValueError: if there are no weights at `path`, or none that fit.
    """
    source = find(path)
    if source.suffix == ".keras":
        encoder = checkpoints.load_encoder(source)
        found = {w.path: w.numpy() for w in encoder.weights}
    elif training_state.is_checkpoint(source):
        found = training_state.read_weights(source)
    else:
        found = _google_weights(model, path)
    taken, skipped = [], {}
    for weight in model.weights:
        value = found.get(weight.path)
        if value is None:
            skipped[weight.path] = "not there"
        elif value.shape != tuple(weight.shape):
            skipped[weight.path] = (
                f"shape {list(value.shape)} instead of {list(weight.shape)}"
            )
        else:
            weight.assign(value)
            taken.append(weight.path)
    if not taken:
        raise ValueError(
            "`path` must hold weights with the names and shapes of the model's."
            f" Received: {source}, with none of them"
        )
    return Taken(taken, skipped)


def _google_weights(model, path):
    """Google's weights by our paths.

    Raises:
        ValueError: if they are not those of the model's encoder, of which
            some would fit nevertheless.
    """
    checkpoint = conversion.Checkpoint(path)
    shapes = checkpoint.shapes
    for weight in model.encoder.weights:
        if shapes.get(weight.path) != tuple(weight.shape):
            raise ValueError(
                "`path` must hold the encoder of the model. Received: "
                f"{path}, with {checkpoint.recognised}, of another "
                f"{weight.path}"
            )
    return {name: checkpoint.value(name) for name in shapes}


def find(path):
    """What is meant: a file, or the folder or prefix of one checkpoint.

    Raises:
        ValueError: if there is none.
    """
    local = pathlib.Path(path)
    if local.suffix == ".keras" or training_state.is_checkpoint(local):
        return local
    saved = training_state.Checkpoints(local / "checkpoints")
    newest = saved.newest()
    if newest is not None:
        return saved.path(newest)
    if (local / "encoder.keras").is_file():
        return local / "encoder.keras"
    prefix, problem = conversion.search(path)
    if problem is not None:
        raise ValueError(
            "`path` must be a .keras file, the model_dir of a run, one of its "
            "checkpoints, or a checkpoint of google-research/simclr. "
            f"Received: {path}, {problem}"
        )
    return prefix
