"""Calls of `fit` that continue where a run stopped, at any step."""

import keras


def fit(model, batches, first_step, last_step, steps_per_epoch, callbacks):
    """Trains from one step to another, in epochs that keep their place.

    Metrics that start inside an epoch go on from the values that the model
    has, as restored from a checkpoint.

    Args:
        model: compiled `keras.Model`.
        batches: (first step, number of steps) -> dataset of these batches.
        first_step: updates done before.
        last_step: updates after which to stop.
        steps_per_epoch: updates in a whole epoch.
        callbacks: Keras callbacks; they see several calls of `fit`.
    """
    if first_step % steps_per_epoch:
        callbacks = [_GoOnWithMetrics(), *callbacks]
    for step, epoch, end, steps in calls(
        first_step, last_step, steps_per_epoch
    ):
        model.fit(
            batches(step, steps * (end - epoch)),
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )


def calls(first_step, last_step, steps_per_epoch):
    """Splits training into calls of `fit`, whose epochs are equally long.

    A run that was interrupted starts inside an epoch, and Google's step count
    ends inside one.

    Returns:
        List of (first step, its epoch, the epoch to stop before, steps in
        each of these epochs), at most three.
    """
    found = []
    while first_step < last_step:
        epoch, offset = divmod(first_step, steps_per_epoch)
        whole = (last_step - first_step) // steps_per_epoch
        if offset or not whole:
            steps = min(steps_per_epoch - offset, last_step - first_step)
            epochs = 1
        else:
            steps, epochs = steps_per_epoch, whole
        found.append((first_step, epoch, epoch + epochs, steps))
        first_step += steps * epochs
    return found


class _GoOnWithMetrics(keras.callbacks.Callback):
    """Gives metrics back what `fit` resets before the first epoch."""

    def on_train_begin(self, logs=None):
        # Of the first call of `fit` only.
        if not hasattr(self, "_values"):
            self._values = [
                (variable, variable.numpy())
                for metric in self.model.metrics
                for variable in metric.variables
            ]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self._values:
            variable.assign(value)
        self._values = []
