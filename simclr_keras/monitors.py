"""What is measured while a run trains, without touching it.

Each of these callbacks adds what it measured to the logs of a step. They come
first, so that the callbacks after them show and keep it, and that a
checkpoint is never ahead of what was measured before it.
"""

import math
import pathlib

import keras

from simclr_keras import callbacks
from simclr_keras import checkpoints
from simclr_keras import run_files
from simclr_keras.evaluation import sphere

BEST_ENCODER = "best_encoder.keras"
BEST = "best_encoder.json"

# Images whose views are measured, and steps between: two views of a batch of
# images, forward alone, are a third of a step at most.
SPHERE_IMAGES = 128
_SPHERE_STEPS = 20


class Monitor(keras.callbacks.Callback):
    """Measures after every `period` steps, and after the last one.

    Args:
        period: int, steps from one measurement to the next.
        last_step: int, updates of the whole run.
        first_step: updates done before.
        copy: a model alike on one device, which is given the weights and
            measured instead; None measures the model itself.
    """

    def __init__(self, period, last_step, first_step=0, copy=None):
        super().__init__()
        self.period = period
        self.last_step = last_step
        self.done = first_step
        self.copy = copy

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done % self.period and self.done != self.last_step:
            return
        # Training ends where they are not; the callbacks after this one say
        # so.
        if callbacks.is_finite(self.model):
            logs.update(self.measure(self._on_one_device()))

    def measure(self, model):
        """dict from names of metrics to floats."""
        raise NotImplementedError

    def _on_one_device(self):
        if self.copy is None:
            return self.model
        self.copy.set_weights(self.model.get_weights())
        return self.copy


class Sphere(Monitor):
    """Alignment and uniformity of the projections, at ends of epochs.

    Always of the same images, seen through the same two views; see
    `evaluation.sphere`. At most every 20 steps.

    Args:
        images: [n, S, S, 3] float in [0, 1].
        steps_per_epoch: int.
        last_step, first_step, copy: as for `Monitor`.
    """

    def __init__(self, images, steps_per_epoch, *args, **kwargs):
        epochs = math.ceil(_SPHERE_STEPS / steps_per_epoch)
        super().__init__(epochs * steps_per_epoch, *args, **kwargs)
        self.images = images

    def measure(self, model):
        found = sphere.run(model, self.images)
        names = ("projection_alignment", "projection_uniformity")
        return {name: found[name] for name in names}


class Best(Monitor):
    """Keeps the encoder of the best kNN accuracy beside the last one.

    `best_encoder.keras` is the encoder; `best_encoder.json` has its `step`,
    `epochs` done by then, and what was measured. A run that goes on finds
    them again; of equal accuracies the earlier stays.

    Args:
        evaluate: function from an encoder to a dict with `knn_top1` and
            `linear_top1`, such as of `evaluation.held_out.run`.
        model_dir: the run's directory.
        epochs: int, from one evaluation to the next.
        steps_per_epoch: int.
        last_step, first_step, copy: as for `Monitor`.
    """

    def __init__(
        self, evaluate, model_dir, epochs, steps_per_epoch, *args, **kwargs
    ):
        super().__init__(epochs * steps_per_epoch, *args, **kwargs)
        self.evaluate = evaluate
        self.model_dir = pathlib.Path(model_dir)
        self.steps_per_epoch = steps_per_epoch
        self.best = best(model_dir)

    def measure(self, model):
        found = self.evaluate(model.encoder)
        if self.best is None or found["knn_top1"] > self.best["knn_top1"]:
            self._keep(model, found)
        return {name: found[name] for name in ("knn_top1", "linear_top1")}

    def _keep(self, model, found):
        # The encoder first: killed in between, the run that goes on measures
        # this step again and finds it better than what the file says.
        checkpoints.save_encoder(model, self.model_dir / BEST_ENCODER)
        epochs = self.done / self.steps_per_epoch
        self.best = {"step": self.done, "epochs": epochs, **found}
        run_files.write_json(self.model_dir / BEST, self.best)


def best(model_dir):
    """What `Best` wrote into `best_encoder.json`; None without an encoder.

    Also None if it is damaged, so that the next evaluation writes it anew.
    """
    model_dir = pathlib.Path(model_dir)
    if not (model_dir / BEST_ENCODER).is_file():
        return None
    try:
        found = run_files.read_json(model_dir / BEST)
    except ValueError:
        return None
    usable = isinstance(found, dict) and {"step", "knn_top1"} <= set(found)
    return found if usable else None
