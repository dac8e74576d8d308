"""Weights of another run as the start of a new one."""

import pathlib
import typing

from simclr_keras import checkpoints
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
            `encoder.keras`; or one folder `step_<n>` of its checkpoints.

    Returns:
        `Taken`.

    Raises:
        ValueError: if there are no weights at `path`, or none that fit.
    """
    source = _source(pathlib.Path(path))
    if source.suffix == ".keras":
        encoder = checkpoints.load_encoder(source)
        found = {w.path: w.numpy() for w in encoder.weights}
    else:
        found = training_state.read_weights(source)
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


def _source(path):
    """The `.keras` file or the folder of one checkpoint that is meant.

    Raises:
        ValueError: if there is none.
    """
    if path.suffix == ".keras" or training_state.is_checkpoint(path):
        return path
    saved = training_state.Checkpoints(path / "checkpoints")
    newest = saved.newest()
    if newest is not None:
        return saved.path(newest)
    if (path / "encoder.keras").is_file():
        return path / "encoder.keras"
    raise ValueError(
        "`path` must be a .keras file, the model_dir of a run, or one of its "
        f"checkpoints. Received: {path}, where there are no weights"
    )
